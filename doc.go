// Package farmspec holds the nouns that every other package of the project
// speaks in: the [Target] under test and the hooks it may offer, the virtual
// [Browser] and the [Exchange] it records, the [Requirement] catalogue, the
// [Verdict] of a check, and the [Report] of a run.
//
// It imports nothing else of the project. The judge (package features), the
// load generator (package loadtest) and the writers (package reports) know
// farms only through these nouns, so nothing in them can favour the reference
// farm.
package farmspec
