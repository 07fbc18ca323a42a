package solve

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhy(t *testing.T) {
	sol, err := Solve(context.Background(), Request{
		World: world(t, "app docs other>0"),
		Repositories: tables(t, `
			app 1 D:mid
			mid 1 D:so:lib=1
			lib 1 p:so:lib=1,x
			other 1 D:far
			far 1 D:deep,lib
			deep 1 D:lib
			docs 1
			app-doc 1 i:app=1,docs D:man
			man 1 p:x`),
	})
	if err != nil {
		t.Fatal(err)
	}
	mid := Link{"mid-1", Reason{Kind: Depended, By: []string{"app"}, Dependency: "mid"}}
	app := Link{"app-1", Reason{Kind: Requested, Dependency: "app"}}
	lib := Chain{Others: 2, Links: []Link{app, mid, {"lib-1", Reason{Kind: Depended, By: []string{"mid"}, Dependency: "so:lib=1"}}}}
	man := Chain{Links: []Link{
		app,
		{"app-doc-1", Reason{Kind: InstallIf, By: []string{"app", "docs"}, Dependency: "app=1 docs"}},
		{"man-1", Reason{Kind: Depended, By: []string{"app-doc"}, Dependency: "man"}},
	}}
	for name, want := range map[string][]Chain{
		"app":     {{Links: []Link{app}}},
		"other":   {{Links: []Link{{"other-1", Reason{Kind: Requested, Dependency: "other>0"}}}}},
		"lib":     {lib},
		"so:lib":  {lib},
		"man":     {man},
		"x":       {lib, man},
		"nothing": nil,
	} {
		if diff := cmp.Diff(want, sol.Why(name)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	// A solution read from a lock has only its choices; a damaged one may lead in
	// a circle.
	for i := range sol.Choices {
		sol.Choices[i].Reason = Reason{Kind: Depended, By: []string{sol.Choices[(i+1)%len(sol.Choices)].Package.Name}}
	}
	if got := sol.Why("lib")[0].Links; len(got) != len(sol.Choices) {
		t.Errorf("%d links of a circle of %d", len(got), len(sol.Choices))
	}
}
