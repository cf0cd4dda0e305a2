// Batch norm's passes over activations: the twin of cpu.rs.
//
// Sums are formed in f32 over a few rows of a thread and of a block, then in f64 over blocks in
// their order: the same bits each time.

// Sums over rows of x - s and of its square, where s, the first row, stands near the mean.
template <int V>
__device__ void moments(const float *x, float *partial, u32 n_rows, u32 n_channels) {
    Place at(n_channels / V);
    float first[V] = {}, second[V] = {};
    Pack<V> start;
    if (at.works) start = ((const Pack<V> *)x)[at.column];
    for (u32 r = blockIdx.y * at.n_lanes + at.lane; at.works && r < n_rows;
         r += gridDim.y * at.n_lanes) {
        Pack<V> row = ((const Pack<V> *)x)[(u64)r * (n_channels / V) + at.column];
        for (int v = 0; v < V; v++) {
            float d = row.at[v] - start.at[v];
            first[v] += d;
            second[v] += d * d;
        }
    }
    write_sums<V>(at, first, second, partial, n_channels);
}

extern "C" __global__ void moments1(const float *x, float *partial, u32 n_rows, u32 n_channels) {
    moments<1>(x, partial, n_rows, n_channels);
}

extern "C" __global__ void moments4(const float *x, float *partial, u32 n_rows, u32 n_channels) {
    moments<4>(x, partial, n_rows, n_channels);
}

// stats[0..4][channel]: mean, 1 / sqrt(variance + eps), and what multiplies and is added to x. The
// running statistics move towards the batch's.
extern "C" __global__ void moments_finish(const float *partial, u32 n_parts, const float *x,
                                          u32 n_rows, const float *gamma, const float *beta,
                                          float eps, float momentum, float *running_mean,
                                          float *running_variance, float *stats, u32 n_channels) {
    double sums[2];
    u32 c = total(partial, n_parts, n_channels, sums);
    if (c >= n_channels) return;
    double n = n_rows, off = sums[0] / n;
    float mean = (float)(x[c] + off);
    double variance = sums[1] / n - off * off;
    variance = variance < 0.0 ? 0.0 : variance;
    float inverse = (float)(1.0 / sqrt(variance + (double)eps));
    float scale = gamma[c] * inverse;
    stats[c] = mean;
    stats[n_channels + c] = inverse;
    stats[2 * n_channels + c] = scale;
    stats[3 * n_channels + c] = beta[c] - mean * scale;
    float unbiased = (float)(variance * n / (n > 1.0 ? n - 1.0 : 1.0));
    running_mean[c] = (1.0f - momentum) * running_mean[c] + momentum * mean;
    running_variance[c] = (1.0f - momentum) * running_variance[c] + momentum * unbiased;
}

// Deposits the gradients of gamma and beta, and writes the a, b, c of dx = a g + b x + c.
extern "C" __global__ void norm_grad_finish(const float *partial, u32 n_parts, u32 n_rows,
                                            const float *stats, const float *gamma,
                                            float *to_gamma, int add_gamma, float *to_beta,
                                            int add_beta, float *abc, u32 n_channels) {
    double sums[2];
    u32 c = total(partial, n_parts, n_channels, sums);
    if (c >= n_channels) return;
    double n = n_rows, mean = stats[c], inverse = stats[n_channels + c];
    double a = gamma[c] * inverse, b = -a * inverse * inverse * sums[1] / n;
    to_gamma[c] = (float)(sums[1] * inverse) + (add_gamma ? to_gamma[c] : 0.0f);
    to_beta[c] = (float)sums[0] + (add_beta ? to_beta[c] : 0.0f);
    abc[c] = (float)a;
    abc[n_channels + c] = (float)b;
    abc[2 * n_channels + c] = (float)(-a * sums[0] / n - b * mean);
}

// rows = a g + b rows + c: the gradient of what was normalized. Where stats are given, g first goes
// through the ReLU that followed.
template <int V>
__device__ void norm_grad(const float *grad, float *rows, const float *abc, const float *stats,
                          u32 n, u32 n_channels) {
    u32 i = number();
    if (i >= n / V) return;
    u32 c = i % (n_channels / V) * V;
    const float *a = abc + c, *b = a + n_channels, *d = b + n_channels;
    Pack<V> g = ((const Pack<V> *)grad)[i], x = ((Pack<V> *)rows)[i];
    const float *factor = stats + 2 * n_channels + c, *term = factor + n_channels;
    for (int v = 0; v < V; v++) {
        if (stats) g.at[v] = before_relu(g.at[v], x.at[v], factor[v], term[v]);
        x.at[v] = fmaf(a[v], g.at[v], fmaf(b[v], x.at[v], d[v]));
    }
    ((Pack<V> *)rows)[i] = x;
}

extern "C" __global__ void norm_grad1(const float *grad, float *rows, const float *abc,
                                      const float *stats, u32 n, u32 n_channels) {
    norm_grad<1>(grad, rows, abc, stats, n, n_channels);
}

extern "C" __global__ void norm_grad4(const float *grad, float *rows, const float *abc,
                                      const float *stats, u32 n, u32 n_channels) {
    norm_grad<4>(grad, rows, abc, stats, n, n_channels);
}

// What multiplies and is added to each channel in evaluation.
extern "C" __global__ void running_affine(const float *gamma, const float *beta,
                                          const float *mean, const float *variance, float eps,
                                          float *affine, u32 n_channels) {
    u32 c = number();
    if (c >= n_channels) return;
    float scale = gamma[c] / sqrtf(variance[c] + eps);
    affine[c] = scale;
    affine[n_channels + c] = beta[c] - mean[c] * scale;
}
