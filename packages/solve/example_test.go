package solve_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
)

func ExampleSolve() {
	index, err := repository.NewIndex(
		&apk.Package{Name: "app", Version: "1.0-r0", Arch: "x86_64", Depends: atoms("so:libssl.so.3")},
		&apk.Package{Name: "libssl3", Version: "3.1.4-r0", Arch: "x86_64", Provides: atoms("so:libssl.so.3=3")},
		&apk.Package{Name: "app-doc", Version: "1.0-r0", Arch: "x86_64", InstallIf: atoms("app=1.0-r0 docs")},
		&apk.Package{Name: "docs", Version: "1-r0", Arch: "x86_64"},
	)
	if err != nil {
		log.Fatal(err)
	}
	solution, err := solve.Solve(context.Background(), solve.Request{
		World:        atoms("app docs"),
		Repositories: []solve.Repository{{Index: index, URL: "https://example.com/main"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range solution.Choices {
		fmt.Println(c.Package.ID(), c.Reason.Kind, c.Reason.By)
	}
	for _, link := range solution.Why("libssl3")[0].Links {
		fmt.Println(link.Reason.Dependency, "->", link.Package)
	}
	// Output:
	// libssl3-3.1.4-r0 depends [app]
	// app-1.0-r0 requested []
	// docs-1-r0 requested []
	// app-doc-1.0-r0 install_if [app docs]
	// app -> app-1.0-r0
	// so:libssl.so.3 -> libssl3-3.1.4-r0
}

func atoms(list string) []apk.Dependency {
	out, err := apk.ParseDependencies(list)
	if err != nil {
		log.Fatal(err)
	}
	return out
}
