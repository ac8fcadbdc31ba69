//! Order among things that depend on each other. The only file that names petgraph.
//!
//! In: how many things, and which needs which. Out: an order in which everything comes after what it needs, or a cycle
//! as a readable path. Never: an order that changes from run to run.

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// A cycle: the things on it, each needing the next, the last needing the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<usize>);

impl Cycle {
    /// `a -> b -> a`, with the names of the things.
    pub fn path<'a>(&self, name: impl Fn(usize) -> &'a str) -> String {
        let mut names: Vec<&str> = self.0.iter().map(|index| name(*index)).collect();
        names.extend(self.0.first().map(|index| name(*index)));
        names.join(" -> ")
    }
}

/// The numbers 0 to `count - 1` so that each comes after all it needs; `needs` holds pairs `(thing, what it needs)`.
///
/// # Errors
/// When things need each other in a circle.
pub fn order(count: usize, needs: &[(usize, usize)]) -> Result<Vec<usize>, Cycle> {
    let graph = graph(count, needs);
    let mut order: Vec<usize> = match toposort(&graph, None) {
        Ok(order) => order.into_iter().map(NodeIndex::index).collect(),
        Err(_) => return Err(cycle(&graph)),
    };
    order.reverse();
    Ok(order)
}

fn graph(count: usize, needs: &[(usize, usize)]) -> DiGraph<(), ()> {
    let mut graph = DiGraph::with_capacity(count, needs.len());
    for _ in 0..count {
        graph.add_node(());
    }
    for (from, to) in needs {
        graph.update_edge(NodeIndex::new(*from), NodeIndex::new(*to), ());
    }
    graph
}

/// One cycle, walked from its smallest member so that it always reads the same.
fn cycle(graph: &DiGraph<(), ()>) -> Cycle {
    let own = |node: NodeIndex| graph.edges(node).any(|edge| edge.target() == node);
    let knot = tarjan_scc(graph)
        .into_iter()
        .filter(|knot| knot.len() > 1 || own(knot[0]))
        .min_by_key(|knot| knot.iter().min().copied());
    let Some(knot) = knot else { return Cycle(Vec::new()) };
    let Some(start) = knot.iter().min().copied() else { return Cycle(Vec::new()) };
    let mut path = vec![start];
    // Inside a knot every member leads to another member, so the walk comes back to a place it has been.
    loop {
        let last = path[path.len() - 1];
        let mut next: Vec<NodeIndex> = graph.neighbors(last).filter(|node| knot.contains(node)).collect();
        next.sort_unstable();
        let Some(next) = next.first().copied() else { return Cycle(Vec::new()) };
        if let Some(seen) = path.iter().position(|node| *node == next) {
            return Cycle(path[seen..].iter().map(|node| node.index()).collect());
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_after_what_it_needs() {
        let needs = [(0, 2), (2, 1), (3, 0)];
        let order = order(4, &needs).unwrap_or_else(|cycle| panic!("{cycle:?}"));
        let place = |n: usize| order.iter().position(|m| *m == n);
        assert!(needs.iter().all(|(a, b)| place(*a) > place(*b)), "{order:?}");
    }

    #[test]
    fn a_cycle_is_a_path() {
        let cycle = order(4, &[(3, 1), (1, 2), (2, 1), (0, 3)]).expect_err("a cycle");
        let names = ["a", "b", "c", "d"];
        assert_eq!(cycle.path(|n| names[n]), "b -> c -> b");
        assert_eq!(order(1, &[(0, 0)]).expect_err("a cycle").path(|n| names[n]), "a -> a");
    }
}
