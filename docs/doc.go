// Package docs holds the documentation and the tests that keep it true: every
// path that a document names exists, every command and flag that it shows is
// one that the program has, and imports run in the direction docs/design.md
// says. It exports nothing.
//
//	go test ./docs
package docs
