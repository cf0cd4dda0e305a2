// Arithmetic on activations whose channels are contiguous: the twin of ../channels.rs.

// y = relu?(x scale? + shift? + residual?); scale and shift have one value a channel.
template <int V>
__device__ void affine(const float *x, const float *scale, const float *shift,
                       const float *residual, int relu, float *y, u32 n, u32 n_channels) {
    u32 i = number();
    if (i >= n / V) return;
    u32 c = i % (n_channels / V) * V;
    Pack<V> in = ((const Pack<V> *)x)[i], other, out;
    if (residual) other = ((const Pack<V> *)residual)[i];
    for (int v = 0; v < V; v++) {
        float factor = scale ? scale[c + v] : 1.0f, term = shift ? shift[c + v] : 0.0f;
        float value = fmaf(in.at[v], factor, term);
        if (residual) value += other.at[v];
        out.at[v] = relu ? rectified(value) : value;
    }
    ((Pack<V> *)y)[i] = out;
}

extern "C" __global__ void affine1(const float *x, const float *scale, const float *shift,
                                   const float *residual, int relu, float *y, u32 n,
                                   u32 n_channels) {
    affine<1>(x, scale, shift, residual, relu, y, n, n_channels);
}

extern "C" __global__ void affine4(const float *x, const float *scale, const float *shift,
                                   const float *residual, int relu, float *y, u32 n,
                                   u32 n_channels) {
    affine<4>(x, scale, shift, residual, relu, y, n, n_channels);
}

// grad = grad scale where the ReLU's output y is positive, else 0.
extern "C" __global__ void through_relu(float *grad, const float *y, float scale, u32 n) {
    u32 i = number();
    if (i < n) grad[i] = y[i] > 0.0f ? grad[i] * scale : 0.0f;
}

// Where a thread works when rows are summed: columns of V channels lie side by side in a block,
// and several rows (lanes) one below the other.
struct Place {
    u32 tile, n_lanes, lane, column;
    bool works;
    __device__ Place(u32 n_columns) {
        tile = n_columns < THREADS ? n_columns : THREADS;
        n_lanes = THREADS / tile;
        lane = threadIdx.x / tile;
        column = blockIdx.x * tile + threadIdx.x % tile;
        works = lane < n_lanes && column < n_columns;
    }
};

// Adds up the lanes of a block in their order and writes the two sums of each channel to
// partial[block row][2][channel].
template <int V>
__device__ void write_sums(const Place &at, const float *first, const float *second,
                           float *partial, u32 n_channels) {
    __shared__ float all[2][THREADS * V];
    for (int v = 0; v < V; v++) {
        all[0][threadIdx.x * V + v] = first[v];
        all[1][threadIdx.x * V + v] = second[v];
    }
    __syncthreads();
    if (at.lane > 0 || !at.works) return;
    for (int k = 0; k < 2; k++) {
        for (int v = 0; v < V; v++) {
            float sum = 0.0f;
            for (u32 lane = 0; lane < at.n_lanes; lane++)
                sum += all[k][(lane * at.tile + threadIdx.x) * V + v];
            partial[(blockIdx.y * 2 + k) * n_channels + at.column * V + v] = sum;
        }
    }
}

// The gradient before relu(row factor + term), which is computed again rather than read.
__device__ inline float before_relu(float grad, float row, float factor, float term) {
    return fmaf(row, factor, term) > 0.0f ? grad : 0.0f;
}

// Sums over rows of g and, where there are rows, of g (row - mean). g first goes through a ReLU: in
// place, and multiplied by scale, where its output is given; else, where `normalized` says that the
// ReLU followed the rows times stats[2] plus stats[3], for the sums alone. stats[0] is the mean.
template <int V>
__device__ void grad_sums(float *grad, const float *relu, float scale, const float *rows,
                          const float *stats, int normalized, float *partial, u32 n_rows,
                          u32 n_channels) {
    Place at(n_channels / V);
    float first[V] = {}, second[V] = {}, mean[V] = {}, factor[V] = {}, term[V] = {};
    for (int v = 0; at.works && rows && v < V; v++) {
        const float *own = stats + at.column * V + v;
        mean[v] = own[0];
        factor[v] = own[2 * n_channels];
        term[v] = own[3 * n_channels];
    }
    for (u32 r = blockIdx.y * at.n_lanes + at.lane; at.works && r < n_rows;
         r += gridDim.y * at.n_lanes) {
        u64 i = (u64)r * (n_channels / V) + at.column;
        Pack<V> g = ((Pack<V> *)grad)[i], x, out;
        if (rows) x = ((const Pack<V> *)rows)[i];
        if (relu) {
            out = ((const Pack<V> *)relu)[i];
            for (int v = 0; v < V; v++) g.at[v] = out.at[v] > 0.0f ? g.at[v] * scale : 0.0f;
            ((Pack<V> *)grad)[i] = g;
        } else if (normalized) {
            for (int v = 0; v < V; v++)
                g.at[v] = before_relu(g.at[v], x.at[v], factor[v], term[v]);
        }
        for (int v = 0; v < V; v++) {
            first[v] += g.at[v];
            if (rows) second[v] += g.at[v] * (x.at[v] - mean[v]);
        }
    }
    write_sums<V>(at, first, second, partial, n_channels);
}

extern "C" __global__ void grad_sums1(float *grad, const float *relu, float scale,
                                      const float *rows, const float *stats, int normalized,
                                      float *partial, u32 n_rows, u32 n_channels) {
    grad_sums<1>(grad, relu, scale, rows, stats, normalized, partial, n_rows, n_channels);
}

extern "C" __global__ void grad_sums4(float *grad, const float *relu, float scale,
                                      const float *rows, const float *stats, int normalized,
                                      float *partial, u32 n_rows, u32 n_channels) {
    grad_sums<4>(grad, relu, scale, rows, stats, normalized, partial, n_rows, n_channels);
}

// The two sums of a channel over all parts, in blocks of 32 x 32 threads. Returns the channel, for
// one thread each; for the others, and beyond the last channel, n_channels.
__device__ u32 total(const float *partial, u32 n_parts, u32 n_channels, double *sums) {
    __shared__ double all[2][32][33];
    u32 c = blockIdx.x * 32 + threadIdx.x;
    double part[2] = {0.0, 0.0};
#pragma unroll 8
    for (u32 i = threadIdx.y; i < n_parts; i += 32)
        for (int k = 0; k < 2; k++)
            part[k] += c < n_channels ? partial[(i * 2 + k) * n_channels + c] : 0.0f;
    for (int k = 0; k < 2; k++) all[k][threadIdx.y][threadIdx.x] = part[k];
    __syncthreads();
    // A warp for each channel now.
    for (int k = 0; k < 2; k++) {
        sums[k] = all[k][threadIdx.x][threadIdx.y];
        for (int i = 16; i > 0; i /= 2) sums[k] += __shfl_xor_sync(0xffffffffu, sums[k], i);
    }
    u32 own = blockIdx.x * 32 + threadIdx.y;
    return threadIdx.x == 0 && own < n_channels ? own : n_channels;
}

// to = sums, or to += sums.
extern "C" __global__ void sums_finish(const float *partial, u32 n_parts, float *to, int add,
                                       u32 n_channels) {
    double sums[2];
    u32 c = total(partial, n_parts, n_channels, sums);
    if (c < n_channels) to[c] = (float)sums[0] + (add ? to[c] : 0.0f);
}
