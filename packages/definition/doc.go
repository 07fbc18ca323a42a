// Package definition reads package definitions, melange's YAML, and compiles
// them for one architecture: ranges expanded, variables substituted, reusable
// pipelines put in, inputs checked, the packages that steps need collected, and
// every script's syntax checked.
//
// It accepts what melange 0.59 accepts and gives each value the meaning it has
// there; what melange leaves to the order of a map is decided here, and its
// known defects are not repeated (docs/definitions.md lists both). It does not
// build: no package is resolved, no source fetched and no command run. The
// sources that a definition names come out as [Source] and [GitSource], to be
// taken and checked before a sandbox starts.
//
//	d, err := definition.ReadFile("hello.yaml", definition.Options{})
//	if err != nil {
//		return err // *Errors: every problem with file, line and column
//	}
//	b, err := definition.Compile(d, definition.CompileOptions{Arch: "x86_64"})
package definition
