//! The order of spans, as a balanced tree that counts.

/// A span: its place in the arenas of [`Order`] and of the spans themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    const NONE: Self = Self(u32::MAX);

    /// The handle that [`Order`] gave out as the `index`-th one, from 0.
    pub const fn at(index: usize) -> Self {
        Self(index as u32)
    }

    pub const fn index(self) -> usize {
        self.0 as usize
    }

    fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

#[derive(Clone, Debug)]
struct Node {
    up: Handle,
    left: Handle,
    right: Handle,
    height: u8,
    /// Nodes in this subtree.
    count: u32,
    /// The weight of this node alone.
    own: u32,
    /// The weight of this subtree.
    sum: u64,
}

/// An AVL tree whose nodes are only ever added. Each has a weight, the elements that a reader sees in it. All that takes
/// a handle expects one that this tree gave out.
#[derive(Clone, Debug)]
pub struct Order {
    nodes: Vec<Node>,
    root: Handle,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            root: Handle::NONE,
        }
    }
}

impl Order {
    /// The most nodes there can be.
    pub const MAX: usize = 1 << 31;

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The weight of all.
    pub fn weight(&self) -> u64 {
        self.sum(self.root)
    }

    /// Adds a node right behind another, or at the front.
    pub fn insert_after(&mut self, at: Option<Handle>, weight: u32) -> Handle {
        match at {
            Some(at) => match self.node(at).right.some() {
                Some(right) => self.attach(self.leftmost(right), Side::Left, weight),
                None => self.attach(at, Side::Right, weight),
            },
            None => match self.root.some() {
                Some(root) => self.attach(self.leftmost(root), Side::Left, weight),
                None => {
                    self.root = self.push(Handle::NONE, weight);
                    self.root
                }
            },
        }
    }

    /// Adds a node right before another.
    pub fn insert_before(&mut self, at: Handle, weight: u32) -> Handle {
        match self.node(at).left.some() {
            Some(left) => self.attach(self.rightmost(left), Side::Right, weight),
            None => self.attach(at, Side::Left, weight),
        }
    }

    /// Gives a node another weight.
    pub fn set_weight(&mut self, at: Handle, weight: u32) {
        self.node_mut(at).own = weight;
        let mut here = at;
        while here != Handle::NONE {
            self.refresh(here);
            here = self.node(here).up;
        }
    }

    /// The node with the element at `position` among those that count, and the element's place in it.
    pub fn find(&self, mut position: u64) -> Option<(Handle, u32)> {
        let mut here = self.root;
        while let Some(at) = here.some() {
            let node = self.node(at);
            let left = self.sum(node.left);
            if position < left {
                here = node.left;
            } else if position - left < u64::from(node.own) {
                return Some((at, (position - left) as u32));
            } else {
                position -= left + u64::from(node.own);
                here = node.right;
            }
        }
        None
    }

    /// The weight of all nodes before this one.
    pub fn weight_before(&self, at: Handle) -> u64 {
        self.before(at, |order, at| order.sum(at), |node| node.own.into())
    }

    /// The number of nodes before this one.
    pub fn rank(&self, at: Handle) -> u64 {
        self.before(at, |order, at| order.count(at).into(), |_| 1)
    }

    /// The first node.
    pub fn first(&self) -> Option<Handle> {
        self.root.some().map(|root| self.leftmost(root))
    }

    /// The node behind this one.
    pub fn next(&self, at: Handle) -> Option<Handle> {
        if let Some(right) = self.node(at).right.some() {
            return Some(self.leftmost(right));
        }
        let mut here = at;
        loop {
            let up = self.node(here).up.some()?;
            if self.node(up).left == here {
                return Some(up);
            }
            here = up;
        }
    }

    fn before(
        &self,
        at: Handle,
        subtree: impl Fn(&Self, Handle) -> u64,
        own: impl Fn(&Node) -> u64,
    ) -> u64 {
        let mut total = subtree(self, self.node(at).left);
        let mut here = at;
        while let Some(up) = self.node(here).up.some() {
            let node = self.node(up);
            if node.right == here {
                total += subtree(self, node.left) + own(node);
            }
            here = up;
        }
        total
    }

    fn attach(&mut self, parent: Handle, side: Side, weight: u32) -> Handle {
        let new = self.push(parent, weight);
        let node = self.node_mut(parent);
        match side {
            Side::Left => node.left = new,
            Side::Right => node.right = new,
        }
        let mut here = parent;
        while here != Handle::NONE {
            let top = self.balance(here);
            here = self.node(top).up;
        }
        new
    }

    fn push(&mut self, up: Handle, weight: u32) -> Handle {
        let new = Handle(self.nodes.len() as u32);
        self.nodes.push(Node {
            up,
            left: Handle::NONE,
            right: Handle::NONE,
            height: 1,
            count: 1,
            own: weight,
            sum: weight.into(),
        });
        new
    }

    /// Makes the heights below a node differ by one at most; returns what stands there now.
    fn balance(&mut self, at: Handle) -> Handle {
        let (left, right) = (self.node(at).left, self.node(at).right);
        if self.height(left) > self.height(right) + 1 {
            if self.height(self.node(left).left) < self.height(self.node(left).right) {
                self.rotate(left, Side::Left);
            }
            self.rotate(at, Side::Right)
        } else if self.height(right) > self.height(left) + 1 {
            if self.height(self.node(right).right) < self.height(self.node(right).left) {
                self.rotate(right, Side::Right);
            }
            self.rotate(at, Side::Left)
        } else {
            self.refresh(at);
            at
        }
    }

    /// Turns a node down to one side; the child from the other side takes its place.
    fn rotate(&mut self, at: Handle, side: Side) -> Handle {
        let up = self.node(at).up;
        let (risen, inner) = match side {
            Side::Left => {
                let risen = self.node(at).right;
                let inner = std::mem::replace(&mut self.node_mut(risen).left, at);
                self.node_mut(at).right = inner;
                (risen, inner)
            }
            Side::Right => {
                let risen = self.node(at).left;
                let inner = std::mem::replace(&mut self.node_mut(risen).right, at);
                self.node_mut(at).left = inner;
                (risen, inner)
            }
        };
        if inner != Handle::NONE {
            self.node_mut(inner).up = at;
        }
        self.node_mut(at).up = risen;
        self.node_mut(risen).up = up;
        if up == Handle::NONE {
            self.root = risen;
        } else if self.node(up).left == at {
            self.node_mut(up).left = risen;
        } else {
            self.node_mut(up).right = risen;
        }
        self.refresh(at);
        self.refresh(risen);
        risen
    }

    fn refresh(&mut self, at: Handle) {
        let node = self.node(at);
        let (left, right, own) = (node.left, node.right, node.own);
        let height = 1 + self.height(left).max(self.height(right));
        let count = 1 + self.count(left) + self.count(right);
        let sum = u64::from(own) + self.sum(left) + self.sum(right);
        let node = self.node_mut(at);
        (node.height, node.count, node.sum) = (height, count, sum);
    }

    fn leftmost(&self, mut at: Handle) -> Handle {
        while let Some(left) = self.node(at).left.some() {
            at = left;
        }
        at
    }

    fn rightmost(&self, mut at: Handle) -> Handle {
        while let Some(right) = self.node(at).right.some() {
            at = right;
        }
        at
    }

    fn height(&self, at: Handle) -> u8 {
        at.some().map_or(0, |at| self.node(at).height)
    }

    fn count(&self, at: Handle) -> u32 {
        at.some().map_or(0, |at| self.node(at).count)
    }

    fn sum(&self, at: Handle) -> u64 {
        at.some().map_or(0, |at| self.node(at).sum)
    }

    fn node(&self, at: Handle) -> &Node {
        &self.nodes[at.index()]
    }

    fn node_mut(&mut self, at: Handle) -> &mut Node {
        &mut self.nodes[at.index()]
    }
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, 0_u32..5), 1..300)
        ) {
            let mut order = Order::default();
            let mut list: Vec<(Handle, u32)> = Vec::new();
            for (index, kind, weight) in steps {
                let at = (!list.is_empty()).then(|| index.index(list.len()));
                match (kind, at) {
                    (0, Some(at)) => {
                        let new = order.insert_before(list[at].0, weight);
                        list.insert(at, (new, weight));
                    }
                    (1, Some(at)) => {
                        let new = order.insert_after(Some(list[at].0), weight);
                        list.insert(at + 1, (new, weight));
                    }
                    (2, Some(at)) => {
                        order.set_weight(list[at].0, weight);
                        list[at].1 = weight;
                    }
                    _ => {
                        let new = order.insert_after(None, weight);
                        list.insert(0, (new, weight));
                    }
                }
            }
            let mut before = 0;
            let mut walk = order.first();
            for (rank, (handle, weight)) in list.iter().enumerate() {
                prop_assert_eq!(walk, Some(*handle));
                walk = order.next(*handle);
                prop_assert_eq!(order.rank(*handle), rank as u64);
                prop_assert_eq!(order.weight_before(*handle), before);
                for offset in 0..*weight {
                    prop_assert_eq!(order.find(before + u64::from(offset)), Some((*handle, offset)));
                }
                before += u64::from(*weight);
            }
            prop_assert_eq!(walk, None);
            prop_assert_eq!(order.find(before), None);
            prop_assert_eq!(order.weight(), before);
            let bound = 1.45 * (list.len() as f64 + 2.0).log2();
            prop_assert!(f64::from(order.height(order.root)) <= bound);
        }
    }
}
