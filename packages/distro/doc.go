// Package distro builds many definitions: it takes their graph, drives a
// [Builder] of one definition for several at a time, and keeps the repository
// that they make.
//
// A build runs only when something that its packages depend on changed: the
// compiled definition, the files beside it, the builder, or a package of its
// environment. An environment's packages count by their content ([Identity]), so
// that what gave the same again does not make others build again. All state lies
// in the repository's directory and is written when a build is finished, so that
// a run that was stopped in any way is continued by the next.
//
// It does not know how a package is built, opens no connection, and removes no
// package of earlier versions.
//
//	builds, err := definition.LoadAll(ctx, files, definition.Options{}, options)
//	report, err := distro.Run(ctx, builds, builder, distro.Options{Dir: "packages"})
//
// # What an environment is made of
//
// The packages of the definitions that the graph says are built before, then
// those of the given repositories; repositories that a definition itself names are
// not looked at. A name that was built before is taken as built wherever its
// version fits. What is built at the same time is never seen, so that the result
// does not depend on which build was faster, or on what an earlier run left.
//
// # Cycles
//
// Builds that need each other take the seeds of their cycle from the given
// repositories, also when the cycle has been built; all others take what was
// built. To build the cycle with itself, run again into another directory with
// the first one among the repositories.
//
// # State
//
//	DIR/ARCH/*.apk, APKINDEX.tar.gz   the repository
//	DIR/.cairn/ARCH/builds/NAME.json  what was built from what, and how long it took
//	DIR/.cairn/ARCH/logs/NAME.log     what the last build of NAME printed
//	DIR/.cairn/ARCH/work/             builds that run
package distro
