//! XXH3-64 without a seed, as in the xxHash specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
//!
//! Tests compare it with the package `xxhash` at all lengths that are treated differently.

const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d,
    0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0,
    0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0,
    0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b,
    0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac,
    0xd8, 0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51,
    0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34,
    0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49,
    0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8,
    0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b,
    0x40, 0x7e,
];
const PRIME32: [u64; 3] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D];
const PRIME64: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];
const PRIME_MX1: u64 = 0x1656_6791_9E37_79F9;
const PRIME_MX2: u64 = 0x9FB2_1C65_1E98_DF25;
const STRIPE: usize = 64;
const BLOCK: usize = 1024;

pub fn xxh3_64(text: &[u8]) -> u64 {
    match text.len() {
        0 => avalanche_64(word(&SECRET, 56) ^ word(&SECRET, 64)),
        1..=3 => up_to_3(text),
        4..=8 => up_to_8(text),
        9..=16 => up_to_16(text),
        17..=128 => up_to_128(text),
        129..=240 => up_to_240(text),
        _ => long(text),
    }
}

fn word(bytes: &[u8], position: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[position..position + 8]);
    u64::from_le_bytes(word)
}

fn half(bytes: &[u8], position: usize) -> u64 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[position..position + 4]);
    u64::from(u32::from_le_bytes(word))
}

fn folded(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

fn avalanche_64(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME64[1]);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME64[2]);
    hash ^ (hash >> 32)
}

fn avalanche(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 37)).wrapping_mul(PRIME_MX1);
    hash ^ (hash >> 32)
}

fn up_to_3(text: &[u8]) -> u64 {
    let (first, middle, last) = (text[0], text[text.len() >> 1], text[text.len() - 1]);
    let combined = u64::from(first) << 16 | u64::from(middle) << 24 | u64::from(last) | (text.len() as u64) << 8;
    avalanche_64(combined ^ half(&SECRET, 0) ^ half(&SECRET, 4))
}

fn up_to_8(text: &[u8]) -> u64 {
    let length = text.len();
    let input = half(text, length - 4).wrapping_add(half(text, 0) << 32);
    let mut hash = input ^ word(&SECRET, 8) ^ word(&SECRET, 16);
    hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
    hash = hash.wrapping_mul(PRIME_MX2);
    hash ^= (hash >> 35).wrapping_add(length as u64);
    hash = hash.wrapping_mul(PRIME_MX2);
    hash ^ (hash >> 28)
}

fn up_to_16(text: &[u8]) -> u64 {
    let length = text.len();
    let low = word(text, 0) ^ word(&SECRET, 24) ^ word(&SECRET, 32);
    let high = word(text, length - 8) ^ word(&SECRET, 40) ^ word(&SECRET, 48);
    avalanche((length as u64).wrapping_add(low.swap_bytes()).wrapping_add(high).wrapping_add(folded(low, high)))
}

fn mixed(text: &[u8], position: usize, secret: usize) -> u64 {
    folded(word(text, position) ^ word(&SECRET, secret), word(text, position + 8) ^ word(&SECRET, secret + 8))
}

fn up_to_128(text: &[u8]) -> u64 {
    let length = text.len();
    let mut hash = (length as u64).wrapping_mul(PRIME64[0]);
    for pair in (0..=(length - 1) / 32).rev() {
        hash = hash.wrapping_add(mixed(text, 16 * pair, 32 * pair));
        hash = hash.wrapping_add(mixed(text, length - 16 * (pair + 1), 32 * pair + 16));
    }
    avalanche(hash)
}

fn up_to_240(text: &[u8]) -> u64 {
    let length = text.len();
    let mut hash = (length as u64).wrapping_mul(PRIME64[0]);
    for round in 0..8 {
        hash = hash.wrapping_add(mixed(text, 16 * round, 16 * round));
    }
    hash = avalanche(hash);
    for round in 8..length / 16 {
        hash = hash.wrapping_add(mixed(text, 16 * round, 16 * (round - 8) + 3));
    }
    avalanche(hash.wrapping_add(mixed(text, length - 16, 136 - 17)))
}

fn long(text: &[u8]) -> u64 {
    let length = text.len();
    let mut sums = [PRIME32[2], PRIME64[0], PRIME64[1], PRIME64[2], PRIME64[3], PRIME32[1], PRIME64[4], PRIME32[0]];
    let stripes = (length - 1) / STRIPE;
    for stripe in 0..stripes {
        let in_block = stripe % (BLOCK / STRIPE);
        accumulate(&mut sums, text, stripe * STRIPE, in_block * 8);
        if in_block == BLOCK / STRIPE - 1 {
            scramble(&mut sums);
        }
    }
    accumulate(&mut sums, text, length - STRIPE, SECRET.len() - STRIPE - 7);
    let mut hash = (length as u64).wrapping_mul(PRIME64[0]);
    for pair in 0..4 {
        let (left, right) = (word(&SECRET, 11 + 16 * pair), word(&SECRET, 19 + 16 * pair));
        hash = hash.wrapping_add(folded(sums[2 * pair] ^ left, sums[2 * pair + 1] ^ right));
    }
    avalanche(hash)
}

fn accumulate(sums: &mut [u64; 8], text: &[u8], position: usize, secret: usize) {
    for lane in 0..8 {
        let data = word(text, position + 8 * lane);
        let key = data ^ word(&SECRET, secret + 8 * lane);
        sums[lane ^ 1] = sums[lane ^ 1].wrapping_add(data);
        sums[lane] = sums[lane].wrapping_add((key & 0xFFFF_FFFF).wrapping_mul(key >> 32));
    }
}

fn scramble(sums: &mut [u64; 8]) {
    for (lane, sum) in sums.iter_mut().enumerate() {
        let mixed = *sum ^ (*sum >> 47) ^ word(&SECRET, SECRET.len() - STRIPE + 8 * lane);
        *sum = mixed.wrapping_mul(PRIME32[0]);
    }
}
