//! Components that were written to hurt whoever compiles them.

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 & 127 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &*leb(content.len()), content].concat()
}

/// So many of the same.
fn list(count: usize, item: &[u8]) -> Vec<u8> {
    [leb(count), item.repeat(count)].concat()
}

/// A component of these sections.
pub(crate) fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0", &*sections.concat()].concat()
}

/// A component that holds a core module of these sections.
pub(crate) fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    component(&[section(
        1,
        &[b"\0asm\x01\0\0\0", &*sections.concat()].concat(),
    )])
}

/// So many functions without parameters and results, of these locals and this code.
pub(crate) fn functions(count: usize, locals: &[u8], code: &[u8]) -> Vec<u8> {
    let body = [locals, code, &[0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    module(&[
        section(1, &list(1, &[0x60, 0, 0])),
        section(3, &list(count, &[0])),
        section(10, &list(count, &body)),
    ])
}

pub(crate) fn many_locals() -> Vec<u8> {
    let locals = [&[1], &*leb(1_000_000), &[0x7f]].concat();
    functions(1, &locals, &[])
}

/// Blocks within blocks: what is done of each takes longer the more there are.
pub(crate) fn deep_blocks(count: usize) -> Vec<u8> {
    let code = [[0x02, 0x40].repeat(count), vec![0x0b; count]].concat();
    functions(1, &[0], &code)
}

pub(crate) fn wide_table() -> Vec<u8> {
    let code = [
        &[0x02, 0x40, 0x41, 0, 0x0e],
        &*list(1_000_000, &[0]),
        &[0, 0x0b],
    ];
    functions(1, &[0], &code.concat())
}

pub(crate) fn many_types() -> Vec<u8> {
    module(&[section(1, &list(100_000, &[0x60, 0, 0]))])
}

/// Function types with as many parameters as there may be, as large as a section of types may be.
pub(crate) fn wide_types() -> Vec<u8> {
    let wide = [&[0x60], &*list(1000, &[0x7f]), &[0]].concat();
    module(&[section(1, &list(250, &wide))])
}

pub(crate) fn nested_types(bytes: usize) -> Vec<u8> {
    let deep = [vec![1], [0x41, 1, 1].repeat(bytes / 3)].concat();
    component(&[section(7, &deep)])
}

pub(crate) fn many_imports() -> Vec<u8> {
    let import = |n: usize| {
        let name = format!("i{n}");
        [&[0], &*leb(name.len()), name.as_bytes(), &[5, 0]].concat()
    };
    let imports: Vec<u8> = (0..100_000).flat_map(import).collect();
    component(&[
        // An instance type without anything in it.
        section(7, &list(1, &[0x42, 0])),
        section(10, &[leb(100_000), imports].concat()),
    ])
}

pub(crate) fn many_components() -> Vec<u8> {
    component(&vec![section(4, &component(&[])); 100_000])
}

pub(crate) fn deep_components(depth: usize) -> Vec<u8> {
    (0..depth).fold(component(&[]), |inner, _| component(&[section(4, &inner)]))
}

/// 100 MB that are copied into a memory.
pub(crate) fn much_data() -> Vec<u8> {
    let data = vec![7; 100_000_000];
    let segment = [&[1, 0, 0x41, 0, 0x0b], &*leb(data.len()), &data].concat();
    module(&[
        section(5, &list(1, &[0, 0xff, 0x3f])),
        section(11, &segment),
    ])
}

/// A table of so many elements that is there from the start.
pub(crate) fn large_table(elements: usize) -> Vec<u8> {
    let table = [&[0x70, 0], &*leb(elements)].concat();
    let inner = section(
        1,
        &[b"\0asm\x01\0\0\0", &*section(4, &list(1, &table))].concat(),
    );
    component(&[inner, section(2, &list(1, &[0, 0, 0]))])
}
