//! A pasted text is in the desktop before the key that makes a program ask for it.

use std::time::Duration;

use sandbox_client::connection::Told;
use sandbox_protocol::limits::PASTE_BYTES_MAX;
use sandbox_protocol::wire::control::{FromServer, FromViewer};
use sandbox_protocol::wire::input::Event as Input;

use crate::key;
use crate::world::World;

/// What the server has of the texts that came whole.
fn pasted(world: &World) -> Vec<String> {
    let mut texts = vec![String::new()];
    for message in &world.server.heard {
        if let FromViewer::Paste { text, is_last } = message {
            texts.last_mut().unwrap().push_str(text);
            if *is_last {
                texts.push(String::new());
            }
        }
    }
    texts.pop();
    texts
}

fn type_key(world: &mut World) {
    for is_down in [true, false] {
        world.client.handle_input(world.now, key(is_down));
    }
}

/// Steps until it is done; as many texts as keys, or more, are there all the time.
#[track_caller]
fn run_in_order(world: &mut World, is_done: impl Fn(&World) -> bool) {
    world.run_until(|it| {
        let keys = it.server.input.len().div_ceil(2);
        assert!(keys <= pasted(it).len(), "a key came before its text");
        is_done(it)
    });
}

#[test]
fn no_key_overtakes_its_text_whatever_is_lost_and_reordered() {
    for (loses, loses_back, delay) in [(usize::MAX, usize::MAX, 0), (7, 5, 0), (11, 6, 70)] {
        let mut world = World::live();
        (world.loses, world.loses_back) = (loses, loses_back);
        world.delay = Duration::from_millis(delay);
        let texts = ["ä".repeat(100_000), "b".to_owned(), "ß".repeat(30_000)];
        for text in &texts {
            assert!(world.client.handle_paste(world.now, text));
            type_key(&mut world);
        }
        run_in_order(&mut world, |it| it.server.input.len() == 6);
        assert_eq!(pasted(&world), texts);
        let keys = [key(true), key(false)].repeat(3);
        assert_eq!(world.server.input, keys);
        world.run_until(|it| !it.client.loses_text());
    }
}

#[test]
fn the_pointer_goes_on_while_keys_wait() {
    let mut world = World::live();
    world.server.confirms = false;
    assert!(world.client.handle_paste(world.now, "text"));
    type_key(&mut world);
    world.client.handle_move(world.now, 3, 4);
    world.run_until(|it| it.server.moves.last() == Some(&(3, 4)));
    assert!(world.server.input.is_empty());
}

#[test]
fn a_server_that_never_answers_gets_the_keys_after_two_seconds() {
    let mut world = World::live();
    world.server.confirms = false;
    let began = world.now;
    assert!(world.client.handle_paste(world.now, "text"));
    type_key(&mut world);
    world.run_until(|it| it.server.input.len() == 2);
    let took = world.now - began;
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_millis(2_100), "{took:?}");
    // From then on nothing waits.
    type_key(&mut world);
    let began = world.now;
    world.run_until(|it| it.server.input.len() == 4);
    assert!(world.now - began < Duration::from_millis(100));
}

#[test]
fn an_answer_that_comes_late_is_none_to_the_next_text() {
    let mut world = World::live();
    world.server.confirms = false;
    assert!(world.client.handle_paste(world.now, "one"));
    type_key(&mut world);
    world.run_until(|it| it.server.input.len() == 2);
    assert!(world.client.handle_paste(world.now, "two"));
    type_key(&mut world);
    let began = world.now;
    world.run_until(|it| pasted(it).len() == 2);
    world.server.say(&FromServer::Pasted);
    world.server.say(&FromServer::Control { has_control: true });
    world.run_until(|it| it.told.contains(&Told::Control(true)));
    world.client.take_control(world.now);
    world.run_until(|it| it.server.heard.contains(&FromViewer::TakeControl));
    assert_eq!(world.server.input.len(), 2, "it was the first text's");
    world.server.say(&FromServer::Pasted);
    world.run_until(|it| it.server.input.len() == 4);
    assert!(world.now - began < Duration::from_secs(1));
}

#[test]
fn what_waits_has_its_bounds() {
    let mut world = World::live();
    world.server.confirms = false;
    let long = "x".repeat(PASTE_BYTES_MAX + 1);
    assert!(!world.client.handle_paste(world.now, &long));
    assert!(world.client.handle_paste(world.now, "first"));
    assert!(!world.client.handle_paste(world.now, &long));
    let (half, rest) = long.split_at(PASTE_BYTES_MAX / 2);
    assert!(world.client.handle_paste(world.now, half));
    assert!(
        !world.client.handle_paste(world.now, rest),
        "with the others"
    );
}

#[test]
fn keys_that_wait_outlive_the_connection() {
    let mut world = World::live();
    world.server.confirms = false;
    assert!(world.client.handle_paste(world.now, "text"));
    type_key(&mut world);
    world.is_cut = true;
    world.client.leave(world.now);
    assert_eq!(
        world.client.poll_told(),
        Some(Told::Over(sandbox_client::connection::End::Left))
    );
    let World { client, now, .. } = world;
    assert!(client.loses_text(), "it is on its way");
    let mut input = client.into_input(now);
    input.handle_resumed(now);
    let mut packet = Vec::new();
    input.poll_packet(now, &mut packet).unwrap();
    let packet = sandbox_protocol::wire::input::Packet::decode(&packet).unwrap();
    let expected: [Input; 2] = [key(true), key(false)];
    assert_eq!(packet.events, expected);
}
