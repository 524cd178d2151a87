"""Trading with FinRL's API: agents, environments, prices and performance figures."""

from velora_sb3.finrl.agent import DRLAgent
from velora_sb3.finrl.days_elapsed import DaysElapsed
from velora_sb3.finrl.diagnose_learning import LearningDiagnosis, diagnose_learning
from velora_sb3.finrl.import_finrl import import_finrl
from velora_sb3.finrl.incremental_training import incremental_training
from velora_sb3.finrl.make_callbacks import make_callbacks
from velora_sb3.finrl.make_trading_env import make_trading_env
from velora_sb3.finrl.models import MODELS
from velora_sb3.finrl.performance import performance
from velora_sb3.finrl.presets import memory_efficient_config, small_policy, stable_config
from velora_sb3.finrl.prices.indicators import INDICATORS, add_indicators
from velora_sb3.finrl.prices.load_prices import data_split, load_prices
from velora_sb3.finrl.prices.synthetic_prices import synthetic_prices
from velora_sb3.finrl.stock_trading_env import StockTradingEnv
from velora_sb3.finrl.tensorboard import launch_tensorboard
from velora_sb3.finrl.trading_eval import TradingEvalCallback
from velora_sb3.finrl.validate_training_setup import validate_training_setup

__all__ = [
    "INDICATORS",
    "MODELS",
    "DRLAgent",
    "DaysElapsed",
    "LearningDiagnosis",
    "StockTradingEnv",
    "TradingEvalCallback",
    "add_indicators",
    "data_split",
    "diagnose_learning",
    "import_finrl",
    "incremental_training",
    "launch_tensorboard",
    "load_prices",
    "make_callbacks",
    "make_trading_env",
    "memory_efficient_config",
    "performance",
    "small_policy",
    "stable_config",
    "synthetic_prices",
    "validate_training_setup",
]
