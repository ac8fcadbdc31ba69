//! Where boxes and arrows go: the layered drawing of Sugiyama, Tagawa and Toda (1981).
//!
//! In: boxes of given sizes, and which comes before which. Out: a place for each, columns from left to right, and a way for
//! each arrow around the boxes between. Never: two boxes on each other; or a different drawing of the same graph.

/// A box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A place in pixels, from the upper left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawing {
    /// The upper left corner of each box.
    pub(super) boxes: Vec<Point>,
    /// For each arrow, the points it goes through.
    pub(super) arrows: Vec<Vec<Point>>,
    /// Of the whole.
    pub(super) size: Size,
}

/// Between columns: room for arrows to turn.
const COLUMN_GAP: f64 = 84.0;
/// Between boxes of a column.
const ROW_GAP: f64 = 26.0;
/// How tall the place is that an arrow takes in a column it crosses.
const LANE: f64 = 14.0;
/// How often the order within columns is tried to be made better; more changes nothing in graphs a person can read.
const SWEEPS: usize = 24;

/// A box, or the place where an arrow crosses a column.
struct Node {
    layer: usize,
    size: Size,
    /// The nodes before and after it.
    left: Vec<usize>,
    right: Vec<usize>,
    y: f64,
}

/// Draws boxes; each pair of `edges` is one that comes before another. What is in a circle is drawn all the same.
pub(super) fn draw(sizes: &[Size], edges: &[(usize, usize)]) -> Drawing {
    let layers = layers(sizes.len(), edges);
    let mut nodes: Vec<Node> = sizes
        .iter()
        .zip(&layers)
        .map(|(size, layer)| Node { layer: *layer, size: *size, left: Vec::new(), right: Vec::new(), y: 0.0 })
        .collect();
    let chains: Vec<Vec<usize>> = edges.iter().map(|edge| chain(&mut nodes, *edge)).collect();
    let columns = ordered(&nodes);
    place(&mut nodes, &columns);
    drawing(&nodes, &columns, &chains, sizes.len())
}

/// The longest way to each box. A circle is cut where it is met again.
fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layers = vec![0; count];
    for _ in 0..count {
        let mut changed = false;
        for (from, to) in edges.iter().filter(|(from, to)| from != to) {
            if layers[*to] <= layers[*from] && layers[*from] + 1 < count {
                layers[*to] = layers[*from] + 1;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    layers
}

/// The nodes of an arrow: its ends, and a lane in each column between.
fn chain(nodes: &mut Vec<Node>, (from, to): (usize, usize)) -> Vec<usize> {
    let mut chain = vec![from];
    for layer in nodes[from].layer + 1..nodes[to].layer {
        let size = Size { width: 0.0, height: LANE };
        nodes.push(Node { layer, size, left: Vec::new(), right: Vec::new(), y: 0.0 });
        chain.push(nodes.len() - 1);
    }
    chain.push(to);
    for pair in chain.windows(2).filter(|pair| nodes[pair[0]].layer < nodes[pair[1]].layer).collect::<Vec<_>>() {
        nodes[pair[0]].right.push(pair[1]);
        nodes[pair[1]].left.push(pair[0]);
    }
    chain
}

/// The nodes of each column from top to bottom, with as few crossings as some sweeps can find.
fn ordered(nodes: &[Node]) -> Vec<Vec<usize>> {
    let last = nodes.iter().map(|node| node.layer).max().map_or(0, |layer| layer + 1);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); last];
    nodes.iter().enumerate().for_each(|(index, node)| columns[node.layer].push(index));
    let mut best = (crossings(nodes, &columns), columns.clone());
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        let order: Vec<usize> = if forward { (1..last).collect() } else { (0..last.saturating_sub(1)).rev().collect() };
        for layer in order {
            let beside = if forward { &columns[layer - 1] } else { &columns[layer + 1] };
            let middle = |node: &usize| {
                let others = if forward { &nodes[*node].left } else { &nodes[*node].right };
                mean(others.iter().filter_map(|other| beside.iter().position(|there| there == other)).map(number))
            };
            let places: Vec<f64> =
                columns[layer].iter().enumerate().map(|(row, node)| middle(node).unwrap_or(number(row))).collect();
            let mut rows: Vec<usize> = (0..places.len()).collect();
            rows.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
            columns[layer] = rows.into_iter().map(|row| columns[layer][row]).collect();
        }
        let now = crossings(nodes, &columns);
        if now < best.0 {
            best = (now, columns.clone());
        }
    }
    best.1
}

fn crossings(nodes: &[Node], columns: &[Vec<usize>]) -> usize {
    columns.windows(2).map(|pair| crossings_between(nodes, &pair[0], &pair[1])).sum()
}

fn crossings_between(nodes: &[Node], left: &[usize], right: &[usize]) -> usize {
    let row = |node: &usize| right.iter().position(|there| there == node).unwrap_or(0);
    let edges: Vec<(usize, usize)> = left
        .iter()
        .enumerate()
        .flat_map(|(from, node)| nodes[*node].right.iter().map(move |to| (from, row(to))))
        .collect();
    let crosses = |a: &(usize, usize), b: &(usize, usize)| (a.0 < b.0 && a.1 > b.1) || (a.0 > b.0 && a.1 < b.1);
    edges.iter().enumerate().map(|(index, a)| edges[index + 1..].iter().filter(|b| crosses(a, b)).count()).sum()
}

/// Gives each node a height near those beside it.
fn place(nodes: &mut [Node], columns: &[Vec<usize>]) {
    for column in columns {
        let wanted: Vec<f64> = column.iter().map(|_| 0.0).collect();
        settle(nodes, column, &wanted);
    }
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        let order: Vec<usize> = if forward { (0..columns.len()).collect() } else { (0..columns.len()).rev().collect() };
        for layer in order {
            let wanted: Vec<f64> = columns[layer].iter().map(|node| wish(nodes, *node, forward)).collect();
            settle(nodes, &columns[layer], &wanted);
        }
    }
    let top = nodes.iter().map(|node| node.y - node.size.height / 2.0).fold(f64::INFINITY, f64::min);
    for node in nodes {
        node.y -= top;
    }
}

/// Where the middle of a node would like to be: in the middle of those it is drawn to.
fn wish(nodes: &[Node], node: usize, forward: bool) -> f64 {
    let (first, second) =
        if forward { (&nodes[node].left, &nodes[node].right) } else { (&nodes[node].right, &nodes[node].left) };
    let beside = |others: &[usize]| mean(others.iter().map(|other| nodes[*other].y));
    beside(first).or_else(|| beside(second)).unwrap_or(nodes[node].y)
}

/// Puts the nodes of a column as near as can be to where they want to be, in their order and apart: nodes that would
/// touch become one group, which stands at the mean of what its members want.
fn settle(nodes: &mut [Node], column: &[usize], wanted: &[f64]) {
    /// Nodes from one row on, where the first stands, and what that is the mean of.
    struct Group {
        first: usize,
        sum: f64,
        members: f64,
    }
    let mut offsets = Vec::with_capacity(column.len());
    let mut offset = 0.0;
    for (row, node) in column.iter().enumerate() {
        if row > 0 {
            offset += f64::midpoint(nodes[column[row - 1]].size.height, nodes[*node].size.height) + ROW_GAP;
        }
        offsets.push(offset);
    }
    let mut groups: Vec<Group> = Vec::new();
    for (row, want) in wanted.iter().enumerate() {
        groups.push(Group { first: row, sum: want - offsets[row], members: 1.0 });
        while let [.., above, below] = groups.as_mut_slice() {
            if above.sum / above.members <= below.sum / below.members {
                break;
            }
            above.sum += below.sum;
            above.members += below.members;
            groups.pop();
        }
    }
    for (index, group) in groups.iter().enumerate() {
        let end = groups.get(index + 1).map_or(column.len(), |next| next.first);
        for row in group.first..end {
            nodes[column[row]].y = group.sum / group.members + offsets[row];
        }
    }
}

fn drawing(nodes: &[Node], columns: &[Vec<usize>], chains: &[Vec<usize>], count: usize) -> Drawing {
    let widest = |column: &Vec<usize>| column.iter().map(|node| nodes[*node].size.width).fold(0.0, f64::max);
    let mut starts = Vec::new();
    let mut x = 0.0;
    for column in columns {
        starts.push((x, widest(column)));
        x += widest(column) + COLUMN_GAP;
    }
    let left = |node: usize| starts[nodes[node].layer].0;
    let boxes = (0..count).map(|node| Point { x: left(node), y: nodes[node].y - nodes[node].size.height / 2.0 });
    let way = |chain: &Vec<usize>| {
        let (last, mut points) = (chain.len() - 1, Vec::new());
        for (index, node) in chain.iter().enumerate() {
            let (start, wide) = starts[nodes[*node].layer];
            let y = nodes[*node].y;
            // A box is left at its own right side, and from there straight to the end of its column.
            if index > 0 {
                points.push(Point { x: start, y });
            }
            if index == 0 {
                points.push(Point { x: start + nodes[*node].size.width, y });
            }
            if index < last {
                points.push(Point { x: start + wide, y });
            }
        }
        points
    };
    let height = nodes.iter().map(|node| node.y + node.size.height / 2.0).fold(0.0, f64::max);
    Drawing {
        boxes: boxes.collect(),
        arrows: chains.iter().map(way).collect(),
        size: Size { width: (x - COLUMN_GAP).max(0.0), height },
    }
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), number| (sum + number, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// A count as a length.
pub(super) fn number(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(count: usize) -> Vec<Size> {
        (0..count).map(|n| Size { width: 100.0 + number(n % 7) * 10.0, height: 40.0 + number(n % 5) * 20.0 }).collect()
    }

    /// Thirty services that need one another in every way.
    fn thirty() -> Vec<(usize, usize)> {
        (1..30).flat_map(|n| [(n / 2, n), (n / 3, n), (n - 1 - (n * 7) % n, n)]).filter(|(a, b)| a < b).collect()
    }

    #[test]
    fn boxes_are_never_on_each_other() {
        for edges in [thirty(), vec![], vec![(0, 1), (1, 2), (2, 0)], (1..30).map(|n| (0, n)).collect()] {
            let sizes = sizes(30);
            let drawing = draw(&sizes, &edges);
            let corners: Vec<(Point, Size)> = drawing.boxes.iter().copied().zip(sizes).collect();
            for (index, (a, size)) in corners.iter().enumerate() {
                assert!(a.x >= 0.0 && a.y >= -0.01, "{a:?}");
                for (b, other) in &corners[index + 1..] {
                    let apart = a.x + size.width <= b.x
                        || b.x + other.width <= a.x
                        || a.y + size.height <= b.y
                        || b.y + other.height <= a.y;
                    assert!(apart, "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn what_comes_before_is_further_left_and_arrows_never_go_through_a_box() {
        let (sizes, edges) = (sizes(30), thirty());
        let drawing = draw(&sizes, &edges);
        for (way, (from, to)) in drawing.arrows.iter().zip(&edges) {
            assert!(drawing.boxes[*from].x + sizes[*from].width < drawing.boxes[*to].x, "{from} {to}");
            let lanes = &way[1..way.len() - 1];
            for (place, size) in drawing.boxes.iter().zip(&sizes) {
                let inside = |p: &Point| {
                    p.x > place.x + 1.0
                        && p.x < place.x + size.width - 1.0
                        && p.y > place.y
                        && p.y < place.y + size.height
                };
                assert!(!lanes.iter().any(inside), "{from} {to}");
            }
        }
    }

    #[test]
    fn a_crossing_that_can_be_avoided_is() {
        let drawing = draw(&[Size { width: 10.0, height: 10.0 }; 4], &[(0, 3), (1, 2)]);
        let below = |a: usize, b: usize| drawing.boxes[a].y > drawing.boxes[b].y;
        assert_eq!(below(0, 1), below(3, 2));
    }
}
