"""The program that talks to a tracker's package; a folder that Python runs by its path.

So it never imports ``velora_sb3`` itself: with torch that takes seconds and hundreds of megabytes. Files in here
import nothing of ours; Python finds them by their plain names, as the folder is the first entry of ``sys.path``.
"""
