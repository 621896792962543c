//! Which requests are made of which items.

use super::*;
use proptest::prelude::*;

fn items(text: &str) -> Vec<Item> {
    let one = |word: &str| {
        let (table, place) = word.split_at(1);
        let (address, width) = place.split_once('+').unwrap_or((place, "1"));
        let table = match table {
            "h" => Table::Holding,
            "i" => Table::Input,
            "c" => Table::Coil,
            _ => Table::Discrete,
        };
        Item { table, address: address.parse().unwrap(), width: width.parse().unwrap() }
    };
    sort(text.split_whitespace().map(one).collect())
}

/// Blocks as `h0+4 c7+1`.
fn check(text: &str, shape: Shape, expected: &str) {
    let items = items(text);
    let blocks = blocks(&items, &vec![Mark::default(); items.len()], shape);
    let letter = |t: Table| ["h", "i", "c", "d"][Table::ALL.iter().position(|x| *x == t).unwrap()];
    let shown: Vec<_> =
        blocks.iter().map(|b| format!("{}{}+{}", letter(b.table), b.address, b.count)).collect();
    assert_eq!(shown.join(" "), expected, "of {text}");
}

#[test]
fn neighbours_are_read_together() {
    let shape = Shape { block: 10, gap: 2 };
    check("h0 h1 h2", shape, "h0+3");
    check("h2 h0 h1 h1", shape, "h0+3");
    check("h0+2 h4+2", shape, "h0+6"); // a gap of two is read along
    check("h0+2 h5+2", shape, "h0+2 h5+2"); // of three is not
    check("h0+4 h4+4 h8+4", shape, "h0+8 h8+4"); // an item is never split
    check("h0 i1 c2 d3", shape, "h0+1 i1+1 c2+1 d3+1");
    check("h0+4 h1 h3+2", shape, "h0+5"); // overlapping ones
    check("c0 c33", shape, "c0+34"); // bits: 16 times as many
    check("c0 c34", shape, "c0+1 c34+1");
    check("h65532+4", shape, "h65532+4");
    check("", shape, "");
    check("h0 h125", Shape { block: 125, gap: 200 }, "h0+1 h125+1");
    check("c0 c1999 c2000", Shape { block: 125, gap: 200 }, "c0+2000 c2000+1");
}

#[test]
fn a_refused_block_is_split_at_its_widest_gap_else_in_the_middle() {
    let list = items("h0 h1 h2 h7");
    let whole = block_of(&list, 0, 4);
    assert_eq!((whole.address, whole.count), (0, 8));
    assert_eq!(split(&list, &whole), Some(3));
    assert_eq!(split(&list, &block_of(&list, 0, 3)), Some(1));
    assert_eq!(split(&list, &block_of(&list, 3, 4)), None);
}

#[test]
fn cuts_and_skipped_items_end_a_block() {
    let list = items("h0 h1 h2 h3");
    let mut marks = vec![Mark::default(); 4];
    marks[2].cut = true;
    let addresses = |b: &[Block]| b.iter().map(|b| (b.address, b.count)).collect::<Vec<_>>();
    assert_eq!(addresses(&blocks(&list, &marks, Shape::default())), [(0, 2), (2, 2)]);
    marks[2] = Mark { cut: false, skip: true };
    assert_eq!(addresses(&blocks(&list, &marks, Shape::default())), [(0, 2), (3, 1)]);
}

proptest! {
    #[test]
    fn every_item_is_in_exactly_one_block_within_the_limits(
        places in prop::collection::vec((0usize..4, 0u16..400, 1u16..5), 0..60),
        block in 4u16..=125,
        gap in 0u16..20,
    ) {
        let items = sort(places.into_iter().map(|(t, address, width)| {
            let table = Table::ALL[t];
            Item { table, address, width: if table.is_bits() { 1 } else { width } }
        }).collect());
        let blocks = blocks(&items, &vec![Mark::default(); items.len()], Shape { block, gap });
        let mut next = 0;
        for b in blocks {
            prop_assert_eq!(b.first, next);
            next = b.last;
            prop_assert!(b.count <= b.table.count_max() && b.count > 0);
            prop_assert!(b.table.is_bits() || b.count <= block.max(4));
            for item in &items[b.first..b.last] {
                prop_assert!(item.table == b.table && item.address >= b.address);
                prop_assert!(item.end() <= u32::from(b.address) + u32::from(b.count));
            }
        }
        prop_assert_eq!(next, items.len());
    }
}
