"""The C functions that a policy may need; a file contains those that it uses."""

from __future__ import annotations

# NUMBER is the type of an observation's numbers. Weights of dense layers stand input by input: the inner loop then
# runs over independent outputs, which compilers vectorize without leave to reorder sums.
FUNCTIONS: dict[str, str] = {
    "fill_zero": """\
static void fill_zero(int n, float *y)
{
    for (int i = 0; i < n; i++) y[i] = 0.0f;
}
""",
    "copy": """\
static void copy(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++) y[i] = x[i];
}
""",
    "add": """\
static void add(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++) y[i] += x[i];
}
""",
    "read_numbers": """\
static void read_numbers(int n, const NUMBER *x, float *y)
{
    for (int i = 0; i < n; i++) y[i] = (float)x[i];
}
""",
    "normalize": """\
/* The mean is the sum of two numbers: a large one alone would round the small differences away. */
static void normalize(int n, const NUMBER *x, const float *mean, const float *rest, const float *deviation, float clip,
                      float *y)
{
    for (int i = 0; i < n; i++) {
        float z = (float)(x[i] - (NUMBER)mean[i] - (NUMBER)rest[i]) / deviation[i];
        y[i] = z < -clip ? -clip : z > clip ? clip : z;
    }
}
""",
    "one_hot": """\
static void one_hot(int n, int index, float *y)
{
    for (int i = 0; i < n; i++) y[i] = i == index ? 1.0f : 0.0f;
}
""",
    "add_linear": """\
static void add_linear(int inputs, int outputs, const float *restrict weights, const float *restrict x,
                       float *restrict y)
{
    for (int j = 0; j < inputs; j++) {
        const float *restrict column = weights + j * outputs;
        const float value = x[j];
        for (int i = 0; i < outputs; i++) y[i] += column[i] * value;
    }
}
""",
    "add_sparse": """\
static void add_sparse(int outputs, const unsigned short *starts, const unsigned short *sources, const float *weights,
                       const float *x, float *y)
{
    for (int i = 0; i < outputs; i++) {
        float sum = 0.0f;
        for (int k = starts[i]; k < starts[i + 1]; k++) sum += weights[k] * x[sources[k]];
        y[i] += sum;
    }
}
""",
    "scale": """\
static void scale(int n, const float *factor, const float *shift, const float *x, float *y)
{
    for (int i = 0; i < n; i++) y[i] = x[i] * factor[i] + shift[i];
}
""",
    "layer_norm": """\
static void layer_norm(int n, float epsilon, const float *factor, const float *shift, float *x)
{
    float mean = 0.0f, variance = 0.0f;
    for (int i = 0; i < n; i++) mean += x[i];
    mean /= (float)n;
    for (int i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean);
    const float deviation = sqrtf(variance / (float)n + epsilon);
    for (int i = 0; i < n; i++) x[i] = (x[i] - mean) / deviation * factor[i] + shift[i];
}
""",
    "sigmoid": """\
static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
""",
    "apply_tanh": """\
static void apply_tanh(int n, float *x)
{
    for (int i = 0; i < n; i++) x[i] = tanhf(x[i]);
}
""",
    "apply_lecun_tanh": """\
static void apply_lecun_tanh(int n, float *x)
{
    for (int i = 0; i < n; i++) x[i] = 1.7159f * tanhf(0.666f * x[i]);
}
""",
    "apply_relu": """\
static void apply_relu(int n, float *x)
{
    for (int i = 0; i < n; i++) x[i] = x[i] < 0.0f ? 0.0f : x[i];
}
""",
    "apply_leaky_relu": """\
static void apply_leaky_relu(int n, float slope, float *x)
{
    for (int i = 0; i < n; i++) x[i] = x[i] < 0.0f ? slope * x[i] : x[i];
}
""",
    "apply_elu": """\
static void apply_elu(int n, float alpha, float *x)
{
    for (int i = 0; i < n; i++) x[i] = x[i] > 0.0f ? x[i] : alpha * expm1f(x[i]);
}
""",
    "apply_gelu": """\
static void apply_gelu(int n, float *x)
{
    for (int i = 0; i < n; i++) x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678f));
}
""",
    "apply_sigmoid": """\
static void apply_sigmoid(int n, float *x)
{
    for (int i = 0; i < n; i++) x[i] = sigmoid(x[i]);
}
""",
    "apply_silu": """\
static void apply_silu(int n, float *x)
{
    for (int i = 0; i < n; i++) x[i] *= sigmoid(x[i]);
}
""",
    "apply_softplus": """\
static void apply_softplus(int n, float *x)
{
    for (int i = 0; i < n; i++) x[i] = x[i] > 20.0f ? x[i] : log1pf(expf(x[i]));
}
""",
    "apply_clip": """\
static void apply_clip(int n, float low, float high, float *x)
{
    for (int i = 0; i < n; i++) x[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}
""",
    "cfc": """\
/* Products f, g, s and, with a slope, a: tanh f and tanh g, mixed by how long ago the last observation was. */
static void cfc(int n, const float *products, int has_slope, float timespan, int has_gate, float *state)
{
    for (int i = 0; i < n; i++) {
        const float first = tanhf(products[i]), second = tanhf(products[n + i]);
        float weight = products[2 * n + i];
        if (has_slope) weight += products[3 * n + i] * (timespan - 1.0f);
        weight = sigmoid(weight);
        state[i] = has_gate ? first + weight * (second - first) : first + weight * second;
    }
}
""",
    "cfc_pure": """\
static void cfc_pure(int n, const float *products, float timespan, const float *w_tau, const float *amplitude,
                     float *state)
{
    for (int i = 0; i < n; i++) {
        const float decay = expf(-timespan * (fabsf(w_tau[i]) + fabsf(products[i])));
        state[i] = amplitude[i] - amplitude[i] * decay * products[i];
    }
}
""",
    "lrc": """\
/* Products f, k and u: the state decays to tanh u at a rate that they decide. */
static void lrc(int n, const float *products, float timespan, float *state)
{
    for (int i = 0; i < n; i++) {
        const float rate = 2.0f * sigmoid(products[i]) * sigmoid(products[n + i]);
        const float decay = expf(-rate * timespan), target = tanhf(products[2 * n + i]);
        state[i] = target + decay * (state[i] - target);
    }
}
""",
    "lrc_euler": """\
static void lrc_euler(int n, const float *products, float timespan, const float *reversal, float *state)
{
    for (int i = 0; i < n; i++) {
        const float drive = reversal[i] * tanhf(products[2 * n + i]);
        state[i] += sigmoid(products[n + i]) * (drive - sigmoid(products[i]) * state[i]) * timespan;
    }
}
""",
    "gru": """\
/* Products of the inputs and of the state: reset, keep, and the candidate. */
static void gru(int n, const float *by_inputs, const float *by_state, float *state)
{
    for (int i = 0; i < n; i++) {
        const float reset = sigmoid(by_inputs[i] + by_state[i]), keep = sigmoid(by_inputs[n + i] + by_state[n + i]);
        const float candidate = tanhf(by_inputs[2 * n + i] + reset * by_state[2 * n + i]);
        state[i] = candidate + keep * (state[i] - candidate);
    }
}
""",
    "add_synapses": """\
/* The currents of the synapses into each unit: four numbers each, conductance times reversal potential, conductance,
   steepness, and the potential at which it is half open. */
static void add_synapses(int units, const unsigned short *starts, const unsigned short *sources,
                         const float *parameters, const float *potentials, float *pull, float *conductance)
{
    for (int i = 0; i < units; i++) {
        for (int k = starts[i]; k < starts[i + 1]; k++) {
            const float *p = parameters + 4 * k;
            const float open = sigmoid((potentials[sources[k]] - p[3]) * p[2]);
            pull[i] += p[0] * open;
            conductance[i] += p[1] * open;
        }
    }
}
""",
    "ltc_unfold": """\
static void ltc_unfold(int n, float dt, const float *capacity, const float *pull, const float *conductance,
                       float *state)
{
    for (int i = 0; i < n; i++)
        state[i] += dt * (pull[i] - conductance[i] * state[i]) / (capacity[i] + dt * conductance[i]);
}
""",
    "lstm": """\
/* Products i, f, g and o; a constant is added to f. */
static void lstm(int n, const float *products, float forget, float *hidden, float *memory)
{
    for (int i = 0; i < n; i++) {
        memory[i] = sigmoid(products[n + i] + forget) * memory[i] + sigmoid(products[i]) * tanhf(products[2 * n + i]);
        hidden[i] = sigmoid(products[3 * n + i]) * tanhf(memory[i]);
    }
}
""",
    "argmax": """\
static int argmax(int n, const float *x)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}
""",
    "mask": """\
static void mask(int n, const unsigned char *allowed, float *x)
{
    for (int i = 0; i < n; i++)
        if (!allowed[i]) x[i] = -1e8f;
}
""",
    "average": """\
/* The mean over the quantiles of each action's value. */
static void average(int quantiles, int actions, const float *x, float *y)
{
    for (int i = 0; i < actions; i++) {
        float sum = 0.0f;
        for (int k = 0; k < quantiles; k++) sum += x[k * actions + i];
        y[i] = sum / (float)quantiles;
    }
}
""",
    "rescale": """\
static void rescale(int n, const float *low, const float *high, const float *x, float *action)
{
    for (int i = 0; i < n; i++) action[i] = low[i] + 0.5f * (x[i] + 1.0f) * (high[i] - low[i]);
}
""",
    "clip_action": """\
static void clip_action(int n, const float *low, const float *high, const float *x, float *action)
{
    for (int i = 0; i < n; i++) action[i] = x[i] < low[i] ? low[i] : x[i] > high[i] ? high[i] : x[i];
}
""",
}
NEEDS = {name: ["sigmoid"] for name, text in FUNCTIONS.items() if " sigmoid(" in text and name != "sigmoid"}
