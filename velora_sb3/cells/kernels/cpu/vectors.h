/* Vectors of floats as wide as the CPU's registers, by the vector extensions of GCC and Clang. */
#pragma once

#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { WIDTH = 16 };
#elif defined(__AVX__)
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif

typedef float vector __attribute__((vector_size(4 * WIDTH)));
typedef int integers __attribute__((vector_size(4 * WIDTH)));
typedef float unaligned __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vector all(float value) { return value - (vector){0}; }

INLINE vector load(const float *from) { return *(const unaligned *)from; }

INLINE void store(float *to, vector value) { *(unaligned *)to = value; }

/* The first `count` of a vector; nothing is read beyond them. */
INLINE vector load_some(const float *from, int count) {
    if (count >= WIDTH) return load(from);
#if defined(__AVX512F__)
    return (vector)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#else
    vector value = {0};
    for (int i = 0; i < count; i++) value[i] = from[i];
    return value;
#endif
}

INLINE void store_some(float *to, vector value, int count) {
    if (count >= WIDTH) {
        store(to, value);
        return;
    }
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)value);
#else
    for (int i = 0; i < count; i++) to[i] = value[i];
#endif
}

INLINE vector choose(integers where, vector yes, vector no) {
    return (vector)((where & (integers)yes) | (~where & (integers)no));
}

INLINE float sum(vector value) {
    float parts[WIDTH];
    store(parts, value);
    for (int half = WIDTH / 2; half; half /= 2)
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    return parts[0];
}

/* e^x to 2e-7 relative, by x = n ln 2 + r and a polynomial in r. NaN stays NaN: comparisons with it are false. */
INLINE vector exponential(vector x) {
    x = choose(x > 88.0f, all(88.0f), x);
    x = choose(x < -87.0f, all(-87.0f), x);
    vector shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the integer is in the lowest bits */
    vector n = shifted - 12582912.0f;
    vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (vector)(((integers)shifted + 127) << 23);
}

INLINE vector sigmoid(vector x) { return 1.0f / (1.0f + exponential(-x)); }

INLINE vector tangent(vector x) { return 1.0f - 2.0f / (1.0f + exponential(2.0f * x)); } /* hyperbolic */

/* 1 / (1 + 2^x) to 1e-7: 2^x is 2^n times a polynomial in r, x = n + r, 0 <= r <= 1. NaN stays NaN. */
INLINE vector falling_sigmoid(vector x) {
#if defined(__AVX512DQ__)
    vector r = (vector)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
    x = choose(x > 126.0f, all(126.0f), x);
    x = choose(x < -126.0f, all(-126.0f), x);
    vector shifted = x - 0.5f + 12582912.0f;
    vector r = x - (shifted - 12582912.0f);
#endif
    vector p = r * 1.8775766752e-3f + 8.9893400905e-3f;
    p = p * r + 5.5826318053e-2f;
    p = p * r + 2.4015361704e-1f;
    p = p * r + 6.9315307320e-1f;
    p = p * r + 9.9999992506e-1f;
#if defined(__AVX512DQ__)
    return 1.0f / (1.0f + (vector)_mm512_scalef_ps((__m512)p, (__m512)x));
#else
    return 1.0f / (1.0f + p * (vector)(((integers)shifted + 127) << 23));
#endif
}
