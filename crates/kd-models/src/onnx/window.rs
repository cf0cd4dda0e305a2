//! Windows of convolutions and pools: sizes, steps and margins.

use super::constant::Checked;
use super::scope::Scope;

/// How windows lie on an image.
pub(super) struct Window {
    size: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Above, to the left, below, to the right.
    pub(super) padding: [usize; 4],
    /// Pixels below and to the right that the last windows reach beyond the padding, where sizes
    /// are rounded up.
    pub(super) beyond: [usize; 2],
}

impl Window {
    pub(super) fn of_conv(scope: &Scope<'_>, kernel: [usize; 2]) -> Checked<Self> {
        if scope.pair("kernel_shape", 0, 0)? != kernel && scope.ints("kernel_shape")?.is_some() {
            return Err(format!("`kernel_shape` is not that of the weight, {kernel:?}"));
        }
        Self::new(scope, kernel, false)
    }

    pub(super) fn of_pool(scope: &Scope<'_>) -> Checked<Self> {
        let kernel = scope.pair("kernel_shape", 0, 1)?;
        Self::new(scope, kernel, scope.int("ceil_mode", 0)? != 0)
    }

    fn new(scope: &Scope<'_>, kernel: [usize; 2], rounds_up: bool) -> Checked<Self> {
        let &[_, _, height, width] = scope.image()?;
        let (stride, dilation) = (scope.pair("strides", 1, 1)?, scope.pair("dilations", 1, 1)?);
        let (size, padding, beyond) = ([height, width], [0; 4], [0; 2]);
        let mut window = Self { size, kernel, stride, dilation, padding, beyond };
        if kernel.contains(&0) || window.reach().is_none() {
            return Err(format!("windows of {kernel:?}, {dilation:?} pixels apart"));
        }
        window.padding = window.padding(scope)?;
        for side in 0..2 {
            window.beyond[side] = window.beyond(side, rounds_up)?;
        }
        Ok(window)
    }

    /// Rows and columns that a window spans.
    fn reach(&self) -> Option<[usize; 2]> {
        let reach = |i: usize| (self.kernel[i] - 1).checked_mul(self.dilation[i])?.checked_add(1);
        let reach = [reach(0)?, reach(1)?];
        reach.iter().all(|reach| *reach < 1 << 32).then_some(reach)
    }

    fn padding(&self, scope: &Scope<'_>) -> Checked<[usize; 4]> {
        let pads = scope.ints("pads")?.unwrap_or(&[0; 4]);
        let upper = match scope.text("auto_pad", "NOTSET")? {
            "NOTSET" => {
                let sizes: Option<Vec<usize>> = pads
                    .iter()
                    .map(|p| usize::try_from(*p).ok().filter(|p| *p < 1 << 32))
                    .collect();
                let sizes: Option<[usize; 4]> = sizes.and_then(|sizes| sizes.try_into().ok());
                return sizes.ok_or_else(|| format!("`pads` is {pads:?}; four are supported"));
            }
            "VALID" => return Ok([0; 4]),
            "SAME_UPPER" => true,
            "SAME_LOWER" => false,
            other => return Err(format!("`auto_pad` is `{other}`")),
        };
        let side = |i: usize| {
            let n = self.size[i].div_ceil(self.stride[i]).saturating_sub(1);
            let reach = self.reach().map_or(0, |reach| reach[i]);
            let all = (n * self.stride[i] + reach).saturating_sub(self.size[i]);
            if upper { (all / 2, all - all / 2) } else { (all - all / 2, all / 2) }
        };
        let ((top, bottom), (left, right)) = (side(0), side(1));
        Ok([top, left, bottom, right])
    }

    /// What is beyond the padding of the last window that begins before it.
    fn beyond(&self, side: usize, rounds_up: bool) -> Checked<usize> {
        let (stride, room) = (self.stride[side], self.room(side)?);
        let n = room.div_ceil(stride);
        let begins_inside = n * stride < self.size[side] + self.padding[side];
        Ok(if rounds_up && begins_inside { n * stride - room } else { 0 })
    }

    /// How far the first window can move.
    fn room(&self, side: usize) -> Checked<usize> {
        let padded = self.size[side] + self.padding[side] + self.padding[side + 2];
        let room = self.reach().and_then(|reach| padded.checked_sub(reach[side]));
        room.ok_or_else(|| format!("a window is larger than the {:?} pixels", self.size))
    }

    /// Height and width of the output.
    pub(super) fn sides(&self) -> [usize; 2] {
        [0, 1].map(|i| (self.room(i).unwrap_or(0) + self.beyond[i]) / self.stride[i] + 1)
    }

    /// The padding with what is beyond it.
    pub(super) fn whole_padding(&self) -> [usize; 4] {
        let [top, left, bottom, right] = self.padding;
        [top, left, bottom + self.beyond[0], right + self.beyond[1]]
    }

    /// Whether a window is as large as the image, and the only one.
    pub(super) fn is_image(&self) -> bool {
        self.kernel == self.size && self.padding == [0; 4]
    }
}
