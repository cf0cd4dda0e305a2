// Cuts windows out of images that are bytes on the GPU, as pixels in [0, 1].

// Image `index` of all, moved so that its pixel (top, left) comes first, mirrored or not.
struct Window {
    int index, top, left, flip;
};

extern "C" __global__ void crop(const u8 *pixels, const Window *windows, float *to,
                                u32 n_channels, u32 height, u32 width, u32 n) {
    u32 i = number();
    if (i >= n) return;
    u32 x = i % width, y = i / width % height, c = i / (width * height) % n_channels;
    Window w = windows[i / (width * height * n_channels)];
    int row = (int)y + w.top, column = (int)(w.flip ? width - 1 - x : x) + w.left;
    bool inside = row >= 0 && row < (int)height && column >= 0 && column < (int)width;
    u64 image = (u64)w.index * n_channels + c;
    u8 byte = inside ? pixels[(image * height + row) * width + column] : 0;
    to[i] = byte / 255.0f;
}
