//! What an instance of a component takes at least, as its modules declare it.

use wasmparser::{
    ComponentAlias, ComponentExternalKind as Kind, ComponentInstance, ComponentOuterAliasKind,
    Encoding, Instance, Parser, Payload,
};

use crate::caps;

/// What there is from the start of an instance, whatever it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Bytes of all its memories and tables.
    pub(crate) memory: u64,
    /// Instances of core modules.
    pub(crate) instances: u64,
    /// Linear memories.
    pub(crate) memories: u64,
    /// Tables.
    pub(crate) tables: u64,
    /// Elements of the largest table.
    pub(crate) elements: u64,
}

impl Needs {
    /// Of a component that is valid. Of a module or component that it does not define itself, nothing is known.
    pub(crate) fn of(component: &[u8]) -> wasmparser::Result<Needs> {
        let mut open: Vec<Scope> = Vec::new();
        let mut whole = Needs::default();
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { encoding, .. } => open.push(Scope::new(encoding)),
                Payload::End(_) => {
                    let Some(done) = open.pop() else { continue };
                    match open.last_mut() {
                        Some(outer) => outer.define(done),
                        None => whole = done.needs,
                    }
                }
                Payload::ComponentAliasSection(section) => {
                    for alias in section {
                        alias_of(&mut open, &alias?);
                    }
                }
                other => {
                    if let Some(scope) = open.last_mut() {
                        scope.read(other)?;
                    }
                }
            }
        }
        Ok(whole)
    }

    fn add(&mut self, other: Needs) {
        self.memory = self.memory.saturating_add(other.memory);
        self.instances = self.instances.saturating_add(other.instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        self.elements = self.elements.max(other.elements);
    }

    /// The first thing of which there is more than one may have: how many, of what, and how many may be.
    pub(crate) fn excess(&self) -> Option<(u64, &'static str, u64)> {
        let instances = u64::from(caps::CORE_INSTANCES_PER_COMPONENT);
        let memories = u64::from(caps::MEMORIES_PER_COMPONENT);
        let tables = u64::from(caps::TABLES_PER_COMPONENT);
        let all = [
            (self.instances, "core instances", instances),
            (self.memories, "memories", memories),
            (self.tables, "tables", tables),
            (
                self.elements,
                "elements in a table",
                caps::TABLE_ELEMENTS as u64,
            ),
        ];
        all.into_iter().find(|(has, _, most)| has > most)
    }

    pub(super) fn to_numbers(self) -> [u64; 5] {
        [
            self.memory,
            self.instances,
            self.memories,
            self.tables,
            self.elements,
        ]
    }

    pub(super) fn of_numbers([memory, instances, memories, tables, elements]: [u64; 5]) -> Needs {
        Needs {
            memory,
            instances,
            memories,
            tables,
            elements,
        }
    }
}

/// A module or component that is being read: what it needs so far, and what can be instantiated in it.
struct Scope {
    encoding: Encoding,
    needs: Needs,
    modules: Vec<Needs>,
    components: Vec<Needs>,
}

impl Scope {
    fn new(encoding: Encoding) -> Scope {
        Scope {
            encoding,
            needs: Needs::default(),
            modules: Vec::new(),
            components: Vec::new(),
        }
    }

    /// Something that was defined in it has been read.
    fn define(&mut self, done: Scope) {
        match done.encoding {
            Encoding::Module => self.modules.push(Needs {
                instances: 1,
                ..done.needs
            }),
            Encoding::Component => self.components.push(done.needs),
        }
    }

    fn read(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    self.needs.add(Needs {
                        memory: bytes(memory.initial, memory.page_size_log2),
                        memories: 1,
                        ..Needs::default()
                    });
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let elements = table?.ty.initial;
                    self.needs.add(Needs {
                        memory: elements.saturating_mul(caps::TABLE_ELEMENT),
                        tables: 1,
                        elements,
                        ..Needs::default()
                    });
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.needs.add(at(&self.modules, module_index));
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance?
                    {
                        self.needs.add(at(&self.components, component_index));
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.name(import?.ty.kind(), Needs::default());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    let exported = match export.kind {
                        Kind::Module => at(&self.modules, export.index),
                        Kind::Component => at(&self.components, export.index),
                        _ => Needs::default(),
                    };
                    self.name(export.kind, exported);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// One more of its kind has an index.
    fn name(&mut self, kind: Kind, needs: Needs) {
        match kind {
            Kind::Module => self.modules.push(needs),
            Kind::Component => self.components.push(needs),
            _ => {}
        }
    }
}

fn alias_of(open: &mut [Scope], alias: &ComponentAlias<'_>) {
    let (kind, needs) = match *alias {
        ComponentAlias::InstanceExport { kind, .. } => (kind, Needs::default()),
        ComponentAlias::Outer { kind, count, index } => {
            let outer =
                (open.len().checked_sub(1)).and_then(|last| last.checked_sub(count as usize));
            let outer = outer.and_then(|at| open.get(at));
            match (kind, outer) {
                (ComponentOuterAliasKind::CoreModule, Some(outer)) => {
                    (Kind::Module, at(&outer.modules, index))
                }
                (ComponentOuterAliasKind::Component, Some(outer)) => {
                    (Kind::Component, at(&outer.components, index))
                }
                _ => return,
            }
        }
        ComponentAlias::CoreInstanceExport { .. } => return,
    };
    if let Some(scope) = open.last_mut() {
        scope.name(kind, needs);
    }
}

fn at(all: &[Needs], index: u32) -> Needs {
    all.get(index as usize).copied().unwrap_or_default()
}

/// Pages are 64 KiB unless the memory says otherwise.
pub(crate) fn bytes(pages: u64, page_size_log2: Option<u32>) -> u64 {
    1_u64
        .checked_shl(page_size_log2.unwrap_or(16))
        .and_then(|page| pages.checked_mul(page))
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_instantiated_counts_each_time_and_what_is_not_does_not() {
        let page = 1 << 16;
        for (text, expected) in [
            ("(component)", [0, 0, 0, 0, 0]),
            (
                "(component (core module (memory 9) (table 9 funcref)))",
                [0; 5],
            ),
            (
                "(component (core module $m (memory 2) (table 3 funcref))
                    (core instance (instantiate $m)) (core instance (instantiate $m)))",
                [4 * page + 6 * 16, 2, 2, 2, 3],
            ),
            (
                "(component (core module $m (memory 1))
                    (component $c (alias outer 1 $m (core module $n))
                        (core instance (instantiate $n)) (core instance (instantiate $n)))
                    (instance (instantiate $c)) (instance (instantiate $c)))",
                [4 * page, 4, 4, 0, 0],
            ),
            (
                "(component (core module $m (memory 1)) (export $e \"m\" (core module $m))
                    (core instance (instantiate $e)))",
                [page, 1, 1, 0, 0],
            ),
            (
                "(component (component $c (component $d (core module $m (table 7 funcref))
                        (core instance (instantiate $m)))
                        (instance (instantiate $d)))
                    (component $e (alias outer 1 $c (component $f)) (instance (instantiate $f)))
                    (instance (instantiate $e)))",
                [7 * 16, 1, 0, 1, 7],
            ),
        ] {
            let component = wat::parse_str(text).unwrap();
            let needs = Needs::of(&component).unwrap();
            assert_eq!(needs.to_numbers(), expected, "{text}");
            assert_eq!(Needs::of_numbers(needs.to_numbers()), needs);
        }
    }

    #[test]
    fn what_there_is_too_much_of_is_named() {
        let few = Needs {
            instances: 64,
            memories: 16,
            tables: 64,
            elements: 100_000,
            memory: u64::MAX,
        };
        for (needs, expected) in [
            (few, None),
            (
                Needs {
                    instances: 65,
                    ..few
                },
                Some((65, "core instances", 64)),
            ),
            (
                Needs {
                    memories: 17,
                    ..few
                },
                Some((17, "memories", 16)),
            ),
            (Needs { tables: 65, ..few }, Some((65, "tables", 64))),
            (
                Needs {
                    elements: 100_001,
                    ..few
                },
                Some((100_001, "elements in a table", 100_000)),
            ),
        ] {
            assert_eq!(needs.excess(), expected);
        }
    }
}
