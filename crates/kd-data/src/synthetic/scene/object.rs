//! The object of a scene: a shape somewhere, of some size and direction, with a surface.

use kd_core::rng::Rng;

use super::shapes::Shape;
use super::surface::{Surface, direction};
use super::{Canvas, EDGE, cover};
use crate::synthetic::math::{Point, about, between};

/// Radius of the object, units, and how far its center may lie off the image's.
const RADIUS: [f32; 2] = [5.5, 11.0];
const SHIFT: f32 = 6.0;
/// Its width and height, each times the radius.
const STRETCH: [f32; 2] = [0.8, 1.2];

/// An object that can be painted.
pub(in crate::synthetic) struct Object {
    shape: Shape,
    surface: Surface,
    /// Rows of the matrix from scene units to the unit of the shape.
    rows: [Point; 2],
    center: Point,
    /// Scene units per unit of the shape.
    radius: f32,
    edge: f32,
    /// How much brighter the object becomes, per unit along each axis.
    shade: Point,
}

impl Object {
    /// A version of the shape numbered `shape`, anywhere.
    pub(in crate::synthetic) fn new(
        shape: u8,
        surface: impl FnOnce(&mut Rng) -> Surface,
        rng: &mut Rng,
    ) -> Self {
        let shape = Shape::new(shape, rng);
        let radius = between(RADIUS, rng);
        let [width, height] = [between(STRETCH, rng), between(STRETCH, rng)].map(|s| s * radius);
        let [cos, sin] = direction(rng);
        Self {
            shape,
            surface: surface(rng),
            rows: [[cos / width, sin / width], [-sin / height, cos / height]],
            center: [about(SHIFT, rng), about(SHIFT, rng)],
            radius,
            edge: between(EDGE, rng),
            shade: [about(0.03, rng), about(0.03, rng)],
        }
    }

    /// Paints the object over what is there.
    pub(in crate::synthetic) fn paint(&self, canvas: &mut Canvas) {
        canvas.paint(|point| {
            let off = [point[0] - self.center[0], point[1] - self.center[1]];
            let unit = self.rows.map(|row| row[0] * off[0] + row[1] * off[1]);
            let cover = cover(self.shape.distance(unit) * self.radius, self.edge);
            let light = 1.0 + self.shade[0] * off[0] + self.shade[1] * off[1];
            (cover > 0.0).then(|| (self.surface.color(point).map(|c| c * light), cover))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::surface::Pattern;
    use super::*;

    #[test]
    fn an_object_is_painted_where_it_is() {
        let object = Object {
            shape: Shape::Ball,
            surface: Surface {
                colors: [[1.0, 0.5, 0.0]; 2],
                pattern: Pattern::Gradient([0.0, 0.0]),
            },
            rows: [[0.2, 0.0], [0.0, 0.2]],
            center: [4.0, 0.0],
            radius: 5.0,
            edge: 1.0,
            shade: [0.0, 0.0],
        };
        for scale in [1, 2] {
            let width = 32 * scale;
            let mut canvas = Canvas::new([width, width]);
            canvas.paint(|_| Some(([0.25; 3], 1.0)));
            object.paint(&mut canvas);
            let row = &canvas.pixels()[width * width / 2..];
            let at = |x: usize| row[x * scale];
            assert_eq!((at(20), at(13), at(27)), ([1.0, 0.5, 0.0], [0.25; 3], [0.25; 3]));
        }
    }
}
