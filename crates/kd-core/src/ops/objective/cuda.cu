// Softmaxes, cross entropies and their gradients: the twin of cpu.rs. A warp a row.

#define ALL 0xffffffffu

__device__ inline float warp_max(float x) {
    for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(ALL, x, i));
    return x;
}

__device__ inline float warp_sum(float x) {
    for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(ALL, x, i);
    return x;
}

// A softmax of a row at a temperature.
struct Softmax {
    const float *z;
    float inverse, max, sum;
    __device__ Softmax(const float *row, float inverse_temperature, u32 n_classes) {
        z = row;
        inverse = inverse_temperature;
        max = -1.0f / 0.0f;
        for (u32 k = threadIdx.x % 32; k < n_classes; k += 32) max = fmaxf(max, z[k]);
        max = warp_max(max);
        sum = 0.0f;
        for (u32 k = threadIdx.x % 32; k < n_classes; k += 32) sum += expf(power(k));
        sum = warp_sum(sum);
    }
    __device__ float power(u32 k) const { return (z[k] - max) * inverse; }
    __device__ float probability(u32 k) const { return expf(power(k)) / sum; }
    __device__ float log_probability(u32 k) const { return power(k) - logf(sum); }
};

// A term of an objective: its weight, 1 / T, and its gradient's factor, weight / T.
struct Term {
    float weight, inverse, slope;
};

// Loss of each row, and the gradient of their mean. Labels or teacher may be missing. A label that
// is no class makes the loss NaN.
extern "C" __global__ void objective(const float *logits, const u32 *labels, Term hard, float on,
                                     float off, const float *teacher, Term soft, float *losses,
                                     float *gradient, u32 n, u32 n_classes) {
    u32 row = number() / 32;
    if (row >= n) return;
    const float *z = logits + (u64)row * n_classes;
    float *g = gradient + (u64)row * n_classes, loss = 0.0f, share = 1.0f / (float)n;
    u32 label = labels ? labels[row] : 0;
    if (labels) {
        Softmax student(z, hard.inverse, n_classes);
        for (u32 k = threadIdx.x % 32; k < n_classes; k += 32) {
            float target = k == label ? on : off;
            if (target > 0.0f) loss -= hard.weight * target * student.log_probability(k);
            g[k] = hard.slope * (student.probability(k) - target) * share;
        }
    }
    if (teacher) {
        Softmax student(z, soft.inverse, n_classes);
        Softmax targets(teacher + (u64)row * n_classes, soft.inverse, n_classes);
        for (u32 k = threadIdx.x % 32; k < n_classes; k += 32) {
            float q = targets.probability(k);
            loss -= soft.weight * q * student.log_probability(k);
            float slope = soft.slope * (student.probability(k) - q) * share;
            g[k] = labels ? g[k] + slope : slope;
        }
    }
    loss = warp_sum(loss);
    if (threadIdx.x % 32 == 0) losses[row] = label < n_classes ? loss : 0.0f / 0.0f;
}

// The sum over a block of 256 threads, for its first thread.
__device__ double block_sum(double x) {
    __shared__ double all[THREADS];
    all[threadIdx.x] = x;
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) all[threadIdx.x] += all[threadIdx.x + half];
        __syncthreads();
    }
    double sum = all[0];
    __syncthreads();
    return sum;
}

// One block.
extern "C" __global__ void mean(const float *values, float *to, u32 n) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < n; i += THREADS) sum += values[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *to = (float)(sum / n);
}

// to = values * factor, a number on the GPU.
extern "C" __global__ void scaled(const float *values, const float *factor, float *to, u32 n) {
    u32 i = number();
    if (i < n) to[i] = values[i] * *factor;
}

// Adds to counts: the loss, the rows whose label is the largest logit, and those whose label is
// among the five largest; equal logits go to the smaller class. One block.
extern "C" __global__ void count(const float *loss, const float *logits, const u32 *labels,
                                 double *counts, u32 n, u32 n_classes) {
    double top1 = 0.0, top5 = 0.0;
    for (u32 row = threadIdx.x / 32; row < n; row += THREADS / 32) {
        const float *z = logits + (u64)row * n_classes;
        u32 label = labels[row];
        if (label >= n_classes) continue;
        float before = 0.0f, own = z[label];
        for (u32 k = threadIdx.x % 32; k < n_classes; k += 32)
            before += z[k] > own || (z[k] == own && k < label) || own != own ? 1.0f : 0.0f;
        before = warp_sum(before);
        if (threadIdx.x % 32 == 0) {
            top1 += before < 1.0f;
            top5 += before < 5.0f;
        }
    }
    top1 = block_sum(top1);
    top5 = block_sum(top5);
    if (threadIdx.x > 0) return;
    counts[0] += *loss;
    counts[1] += top1;
    counts[2] += top5;
}
