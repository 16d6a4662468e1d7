//! A name for each kind of message: what programs, searches and tests know it by.

use strum::{IntoStaticStr, VariantArray};

/// What kind of message a [`Diagnostic`](crate::Diagnostic) is; [`Code::as_str`] is its name for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Code {
    /// The manifest's file cannot be read.
    ManifestUnreadable,
    /// What was named as the manifest is not a file.
    ManifestNotAFile,
    /// The manifest has more bytes than one may have.
    ManifestTooLarge,
    /// The manifest has more keys and items of lists than one may have.
    TooManyValues,
    /// The manifest is not UTF-8 text.
    ManifestNotUtf8,
    /// The manifest is not TOML.
    NotToml,
    /// A key or a table is there twice.
    DuplicateKey,
    /// The manifest is one of Spin's first version.
    OldManifest,
    /// The manifest is of a version that nobody knows.
    UnknownVersion,

    /// A table lacks a key that it must have.
    MissingKey,
    /// A table has a key that means nothing.
    UnknownKey,
    /// Something else stands where a string must.
    NotAString,
    /// Something else stands where `true` or `false` must.
    NotAFlag,
    /// Something else stands where a whole number must.
    NotANumber,
    /// A whole number is too large to be kept.
    NumberTooLarge,
    /// Something else stands where a list must.
    NotAList,
    /// Something else stands where a table must.
    NotATable,

    /// The application's name is empty, long, or not one line.
    BadApplicationName,
    /// `base = "/"` does nothing.
    BaseWithoutEffect,
    /// `base` is not a path below which routes can begin.
    BadBase,
    /// Two apps that one process is to serve have the same name.
    SameName,
    /// Two apps that one process is to serve are for the same requests.
    SameRequests,

    /// A variable's name is not `lower_snake_case`.
    BadVariableName,
    /// A declared variable could be without a value.
    VariableWithoutValue,
    /// A variable that is used has no value.
    VariableNotSet,
    /// A variable that is used is not declared.
    UndeclaredVariable,
    /// A value was given for a variable that is not declared.
    UndeclaredValue,
    /// The value that was given for a variable is too long.
    ValueTooLong,
    /// The default of a variable is too long.
    DefaultTooLong,
    /// The default of a variable refers to a variable.
    DefaultRefers,
    /// A text with `{{` is not a template.
    BadTemplate,
    /// A template would grow too long.
    FilledTooLong,

    /// There are more components than a manifest may have.
    TooManyComponents,
    /// A component's name is not one.
    BadComponentName,
    /// A trigger names a component that is not there.
    NoSuchComponent,
    /// No route and no other component leads to a component.
    ComponentUnused,
    /// A source is neither a path nor a table.
    BadSource,
    /// A source's path cannot be the path of a file.
    BadSourcePath,
    /// A source that is a table lacks a key.
    IncompleteSource,
    /// A digest is not `sha256:` and 64 hexadecimal digits.
    BadDigest,
    /// A name or a value cannot be in an environment.
    BadEnvironment,
    /// An entry of `files` is neither a pattern nor a table.
    BadFiles,
    /// A pattern of `files` does not stay below the manifest's folder.
    BadGlob,
    /// The `source` of a mount cannot be a path.
    BadMountSource,
    /// The `destination` of a mount is not an absolute path.
    BadMountDestination,
    /// A build command is neither a string nor a list.
    BadBuildCommand,
    /// A store's name is not one.
    BadStoreName,
    /// A dependency is neither a version nor a table.
    BadDependency,
    /// What a dependency inherits is neither a flag nor a list.
    BadInheritance,
    /// A key cannot be inherited by a dependency.
    NotInheritable,
    /// A component uses what this version does not provide.
    NotProvided,

    /// There are more triggers than a manifest may have.
    TooManyTriggers,
    /// Two routes are for the same requests.
    DuplicateRoute,
    /// A route is neither a path nor private.
    BadRouteValue,
    /// A route is not a path.
    RouteNotAPath,
    /// A route is not written in the form that paths are brought to.
    RouteNotNormal,
    /// A route has an empty segment.
    RouteEmptySegment,
    /// A route has a wildcard that is not at its end.
    RouteWildcard,
    /// A route has a `:parameter` without a name that a header can carry.
    RouteParameter,
    /// A route has a parameter twice.
    RouteParameterTwice,
    /// A route is longer than one may be.
    RouteTooLong,
    /// A route's host is not one.
    BadHost,
    /// An executor's type is not one.
    BadExecutor,
    /// A trigger says nobody who answers.
    NoAnswer,
    /// A trigger says two who answer.
    TwoAnswers,
    /// What is for a component stands with a `static_response`.
    NoComponentHere,
    /// A status is not from 200 to 599.
    BadStatus,
    /// A header's name is not one.
    BadHeaderName,
    /// A header is written by the host itself.
    ReservedHeader,
    /// A header's value is not one line of text.
    BadHeaderValue,

    /// A limit is not a size.
    BadSize,
    /// A limit is not a time.
    BadTime,
    /// A limit is not a number that it may be.
    BadCount,
    /// A limit is not a rate.
    BadRate,
    /// `instance_reuse` is none of its words.
    BadReuse,
    /// The operator's `files` is not its only word.
    BadFilesCeiling,
    /// A limit is more than the operator allows.
    LimitAboveCeiling,
    /// A file is not the app's own, and the operator allows no other.
    FileAboveCeiling,
    /// An instance is to serve in a way that is not provided.
    ReuseNotProvided,

    /// A component has more rules than one may have.
    TooManyRules,
    /// `allowed_http_hosts` is an old name.
    OldRuleKey,
    /// A rule is for a protocol that is not provided.
    RuleNotProvided,
    /// A rule is left out because a variable is empty.
    RuleLeftOut,
    /// A rule is a word that is no rule.
    RuleNotARule,
    /// A rule is too long.
    RuleTooLong,
    /// A rule has white space in it.
    RuleWhiteSpace,
    /// A rule has no scheme.
    RuleNoScheme,
    /// A rule's scheme is not one.
    RuleScheme,
    /// A rule has a user name or a password.
    RuleUserInfo,
    /// An entry of `allowed_outbound_hosts` is neither a rule nor a table.
    BadRule,
    /// A rule has a path.
    RulePath,
    /// A rule's path is not one.
    RuleBadPath,
    /// A rule's path is not written in the form that paths are brought to.
    RulePathNotPlain,
    /// A rule for another protocol than HTTP has a path or methods.
    RuleNarrowScheme,
    /// A rule's method is not one.
    RuleMethod,
    /// A rule's method is for no component.
    RuleMethodNotProvided,
    /// A rule's method is nearly a usual one.
    RuleMethodUnknown,
    /// A rule has `methods` without one, or too many.
    RuleMethods,
    /// What is to be injected is not the name of a header.
    InjectName,
    /// A header that is to be injected is written by the host itself.
    InjectReserved,
    /// A value that is to be injected cannot be in a header.
    InjectValue,
    /// A header would be injected on the way to every server.
    InjectAnywhere,
    /// A header would be injected into a call that goes to no server.
    InjectInside,
    /// An injected header is sent without encryption.
    InjectInTheClear,
    /// A variable in an injected header is empty.
    InjectEmpty,
    /// A rule has a list in braces.
    RuleList,
    /// A rule's host is not one.
    RuleHost,
    /// A rule has a wildcard within its host.
    RuleWildcard,
    /// A rule's range of addresses is not one.
    RuleRange,
    /// A rule lacks a port that its scheme does not have.
    RuleNoPort,
    /// A rule's port is not one.
    RulePort,
    /// A rule's range of ports is empty.
    RuleEmptyPorts,
    /// A rule for the application itself has a port or a scheme.
    RuleInside,
    /// A rule names a component that cannot be.
    RuleComponent,
    /// A rule with `{{` is not a template.
    RuleTemplate,
    /// A rule has a variable where none can be.
    RuleVariablePlace,
    /// A variable's value would make another rule of it.
    RuleValue,
    /// A rule uses a variable that is not declared.
    RuleUndeclared,
    /// A rule uses a variable that has no value.
    RuleNotSet,

    /// An `[[expect]]` has neither `allow` nor `deny`.
    ExpectNothing,
    /// What is expected is not a call.
    ExpectNotACall,
    /// The rules deny what is expected to be allowed.
    ExpectedAllow,
    /// The rules allow what is expected to be denied.
    ExpectedDeny,

    /// There is no file where a component should be.
    ComponentMissing,
    /// A component's file cannot be read.
    ComponentUnreadable,
    /// A component's file is a folder.
    ComponentIsAFolder,
    /// A component's file is a device, a pipe or a socket.
    ComponentNotAFile,
    /// A component's file is larger than one may be.
    ComponentTooLarge,
    /// A component's file is empty.
    ComponentEmpty,
    /// A component's file ends too early.
    ComponentTruncated,
    /// A component's file is code that was compiled before.
    ComponentPrecompiled,
    /// A component's file is a native program.
    ComponentIsNative,
    /// A component's file is WebAssembly as text.
    ComponentIsWat,
    /// A component's file is a text.
    ComponentIsText,
    /// A component's file is something else.
    ComponentNotWasm,
    /// A component's file is a core module without types.
    ComponentIsAModule,
    /// A component's file is a core module that cannot be made a component.
    ComponentNotEncodable,
    /// A component's file is WebAssembly that is not valid.
    ComponentDamaged,
    /// A component nests too deep.
    ComponentTooDeep,
    /// A component has too many types.
    ComponentTypesTooLarge,
    /// Compiling a component takes more memory than it may.
    CompilingTakesMemory,
    /// Compiling a component takes longer than it may.
    CompilingTakesTime,
    /// What a component is compiled to is larger than it may be.
    CompiledTooLarge,
    /// The process that compiles a component failed.
    CompilerFailed,
    /// The process that compiles a component was killed.
    CompilerKilled,
    /// No process can be started that compiles a component.
    CompilerNotStarted,
    /// A component needs more memory from the start than it may have.
    ComponentNeedsMemory,
    /// A component has more instances, memories or tables than one may have, or a larger table.
    ComponentNeedsTooMuch,
    /// Loading a component was interrupted.
    LoadingInterrupted,
    /// A component imports what nothing provides.
    ImportNotProvided,
    /// A component imports a version that is not provided.
    ImportVersion,
    /// A component's types are not those of this version.
    ComponentMismatch,
    /// A component exports no HTTP handler.
    NoHandler,
    /// A component exports several HTTP handlers.
    SeveralHandlers,
    /// A pattern of `files` or `exclude_files` is not one.
    FilesGlob,
    /// A pattern of `files` matches no file.
    FilesNothing,
    /// An entry of `files` leads out of the app's folder.
    FilesOutside,
    /// An entry of `files` is or leads through a link.
    FilesLink,
    /// The source of a mount is not there.
    FilesMissing,
    /// The source of a mount is not a folder.
    FilesNotAFolder,
    /// The files are too large together.
    FilesTooLarge,
    /// A file cannot be copied.
    FilesCopy,
    /// A component is granted what it cannot use.
    UnusedGrant,

    /// A component asked for what it was not granted.
    Denied,
}

impl Code {
    /// Every code there is.
    pub const ALL: &'static [Code] = Code::VARIANTS;

    /// Its name: `no-such-component`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_words_with_dashes_and_stands_for_itself() {
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            let plain = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'8');
            assert!(name.split('-').all(|w| !w.is_empty() && plain(w)), "{name}");
        }
        assert_eq!(Code::RuleNoScheme.to_string(), "rule-no-scheme");
    }
}
