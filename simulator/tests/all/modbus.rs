//! The Modbus server, read with frames written by hand.

use crate::support::{PATIENCE, Raw, options, start};
use simulator::modbus::server::{CONNECTIONS_MAX, Shown};
use simulator::modbus::{Faults, Image, ModbusServer, Unit};
use simulator::{Plan, Scenario, Transport};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

async fn server() -> ModbusServer {
    let shown = Shown::default();
    shown.show(Image {
        holding: vec![0x0102, 0xfffe, 3],
        input: vec![7; 125],
        coils: (0..10).map(|i| i % 3 == 0).collect(),
        discrete: vec![true],
    });
    let units = BTreeMap::from([(1, Arc::new(shown) as Arc<dyn Unit>)]);
    ModbusServer::start("127.0.0.1:0".parse().unwrap(), units, CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn answers_and_exceptions_byte_for_byte() {
    let server = server().await;
    let mut raw = Raw::to(server.addr).await;
    let cases: [(u8, &[u8], &[u8]); 17] = [
        (1, &[3, 0, 0, 0, 2], &[3, 4, 1, 2, 0xff, 0xfe]),
        (1, &[3, 0, 2, 0, 1], &[3, 2, 0, 3]),
        (1, &[4, 0, 124, 0, 1], &[4, 2, 0, 7]),
        (1, &[1, 0, 0, 0, 10], &[1, 2, 0b0100_1001, 0b10]),
        (1, &[1, 0, 3, 0, 1], &[1, 1, 1]),
        (1, &[2, 0, 0, 0, 1], &[2, 1, 1]),
        // Beyond the table, also by its last register alone.
        (1, &[3, 0, 3, 0, 1], &[0x83, 2]),
        (1, &[3, 0, 1, 0, 3], &[0x83, 2]),
        (1, &[3, 0xff, 0xff, 0, 2], &[0x83, 2]),
        (1, &[1, 0, 9, 0, 2], &[0x81, 2]),
        // The quantity is looked at before the address.
        (1, &[3, 0, 9, 0, 0], &[0x83, 3]),
        (1, &[4, 0, 0, 0, 126], &[0x84, 3]),
        (1, &[2, 0, 0, 0x07, 0xd1], &[0x82, 3]),
        (1, &[3, 0, 0, 0], &[0x83, 3]),
        // What it cannot do, and a slave that is not there.
        (1, &[6, 0, 0, 0, 1], &[0x86, 1]),
        (1, &[0x2b, 14, 1, 0], &[0xab, 1]),
        (9, &[3, 0, 0, 0, 1], &[0x83, 11]),
    ];
    for (unit, pdu, expected) in cases {
        assert_eq!(raw.ask(unit, pdu).await, Some((0, unit, expected.to_vec())), "{pdu:02x?}");
    }
    assert_eq!(raw.registers(1, 4, 0, 125).await, Ok(vec![7; 125]));
    assert_eq!(server.requests(), 18);
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_modbus_closes_the_connection_and_halves_of_frames_are_waited_for() {
    let server = server().await;
    for wrong in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 1, 0, 0, 0, 1, 1], &[0, 1, 0, 0, 1, 0, 1], &[0, 1, 0, 7, 0, 6]]
    {
        let mut raw = Raw::to(server.addr).await;
        raw.stream.write_all(wrong).await.unwrap();
        let end = timeout(PATIENCE, raw.stream.read(&mut [0; 16])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{wrong:02x?}");
    }
    let mut raw = Raw::to(server.addr).await;
    raw.stream.write_all(&[0x10, 1, 0, 0]).await.unwrap();
    raw.stream.flush().await.unwrap();
    raw.stream.write_all(&[0, 6, 1, 3, 0, 0, 0, 1]).await.unwrap();
    let mut answer = [0; 11];
    timeout(PATIENCE, raw.stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, [0x10, 1, 0, 0, 0, 5, 1, 3, 2, 1, 2]);
    server.stop().await;
}

#[tokio::test]
async fn it_is_late_mute_wrong_or_gone_when_told() {
    let server = server().await;
    let mut raw = Raw::to(server.addr).await;
    server.set_faults(Faults { delay: Duration::from_millis(60), ..Faults::default() });
    let began = Instant::now();
    assert_eq!(raw.registers(1, 3, 0, 1).await, Ok(vec![0x0102]));
    assert!(began.elapsed() >= Duration::from_millis(60));
    server.set_faults(Faults { other_transaction: true, ..Faults::default() });
    assert_eq!(raw.ask(1, &[3, 0, 0, 0, 1]).await.unwrap().0, u16::MAX, "one less than asked for");
    server.set_faults(Faults { mute: vec![1], ..Faults::default() });
    assert!(timeout(Duration::from_millis(50), raw.ask(1, &[3, 0, 0, 0, 1])).await.is_err());
    server.set_faults(Faults::default());
    let mut raw = Raw::to(server.addr).await;
    assert_eq!(raw.registers(1, 3, 2, 1).await, Ok(vec![3]));
    server.set_faults(Faults { down: true, ..Faults::default() });
    assert_eq!(raw.ask(1, &[3, 0, 0, 0, 1]).await, None, "the connection is closed");
    assert_eq!(Raw::to(server.addr).await.ask(1, &[3, 0, 0, 0, 1]).await, None, "new ones too");
    server.set_faults(Faults::default());
    assert_eq!(Raw::to(server.addr).await.registers(1, 3, 2, 1).await, Ok(vec![3]));
    server.stop().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let server = server().await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut raw = Raw::to(server.addr).await;
        assert!(raw.registers(1, 3, 0, 1).await.is_ok());
        held.push(raw);
    }
    assert_eq!(Raw::to(server.addr).await.ask(1, &[3, 0, 0, 0, 1]).await, None);
    drop(held.pop());
    // The place is free once the server has seen the end of that connection.
    let again = async {
        while Raw::to(server.addr).await.ask(1, &[3, 0, 0, 0, 1]).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_tank_farm_shows_the_world_in_all_four_orders() {
    let plan = Plan { mines: 0, plants: 1, scenario: Scenario::TankOverfill, ..Plan::default() };
    // One image for the whole test: the next one comes in an hour.
    let plan = Plan { period: Duration::from_secs(3600), ..plan };
    let running = start(&plan, options(None)).await;
    assert_eq!((running.transports(), &running.mqtt_url), (&[Transport::Modbus][..], &None));
    let device = &running.modbus[0];
    assert_eq!(device.units, [1, 2]);
    let now = running.world.site_at(0, Duration::ZERO).samples;
    let shows = |code: &str| now[running.world.find(&device.site, code).unwrap().1].value.unwrap();
    let mut raw = Raw::to(device.addr).await;
    for (tank, order) in [[0usize, 1, 2, 3], [2, 3, 0, 1], [1, 0, 3, 2], [3, 2, 1, 0]].into_iter().enumerate()
    {
        let (unit, base) = (1 + tank as u8 / 2, 20 * (tank as u16 % 2));
        // The bytes as they come, put back by hand into A B C D: order[i] is where byte i of them stands.
        let arrange = |words: &[u16]| {
            let wire: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
            u32::from_be_bytes(order.map(|i| wire[i]))
        };
        let holding = raw.registers(unit, 3, base, 8).await.unwrap();
        let input = raw.registers(unit, 4, base, 2).await.unwrap();
        let number = 101 + tank;
        let level = f64::from(f32::from_bits(arrange(&holding[..2])));
        assert!((level - shows(&format!("LT-{number}"))).abs() < 1e-6, "tank {number}: {level}");
        assert_eq!((shows(&format!("TT-{number}")) * 10.0).round() as i16, holding[2] as i16);
        assert_eq!((shows(&format!("GD-{number}")) * 10.0).round() as u16, holding[3]);
        assert_eq!((shows(&format!("PT-{number}")) * 1000.0).round() as u32, arrange(&input));
        assert_eq!(holding[4..], [0; 4], "all is well");
        let row = (tank % 2) as u8;
        let bit = |pdu: Option<(u16, u8, Vec<u8>)>| f64::from(pdu.unwrap().2[2]);
        assert_eq!(bit(raw.ask(unit, &[1, 0, row, 0, 1]).await), shows(&format!("P-{number}")));
        assert_eq!(bit(raw.ask(unit, &[2, 0, row, 0, 1]).await), shows(&format!("LSH-{number}")));
    }
    running.stop().await;
}

#[tokio::test]
async fn the_registers_follow_the_world_and_the_link_breaks_with_it() {
    // A mine on Modbus; at 60 world seconds a second its link is down from 250 to 750 ms.
    let plan = Plan {
        mines: 1,
        plants: 0,
        scenario: Scenario::LinkBreak,
        rate: 60.0,
        period: Duration::from_millis(10),
        ..Plan::default()
    };
    let mut options = options(None);
    options.mqtt = false;
    let running = start(&plan, options).await;
    let addr = running.modbus[0].addr;
    let (mut refused, mut values) = (0, std::collections::BTreeSet::new());
    let mut back = false;
    let broken_and_back = async {
        while refused <= 5 || values.len() <= 3 || !back {
            let answer = Raw::to(addr).await.ask(1, &[3, 0, 4, 0, 1]).await;
            back = refused > 5 && answer.is_some();
            match answer {
                Some((_, _, pdu)) => drop(values.insert(u16::from_be_bytes([pdu[2], pdu[3]]))),
                None => refused += 1,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, broken_and_back).await.expect("values, a broken link and values again");
    assert!(values.iter().all(|v| (20..90).contains(v)), "methane in hundredths: {values:?}");
    running.stop().await;
}
