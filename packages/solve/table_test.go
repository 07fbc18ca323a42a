package solve

import (
	"crypto/sha1"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

// A repository in a test is a table: an optional first line "@tag", then one
// line per package:
//
//	name version D:dep,dep p:provided=1,virtual i:condition k:priority
//
// Equal lines are equal packages, also across repositories.
func table(t testing.TB, text string) Repository {
	t.Helper()
	r := Repository{URL: "https://repo"}
	var packages []*apk.Package
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case line[0] == '@':
			r.Tag = line[1:]
			r.URL += "/" + r.Tag
		default:
			packages = append(packages, row(t, line))
		}
	}
	r.Index = newIndex(packages)
	return r
}

func tables(t testing.TB, texts ...string) []Repository {
	t.Helper()
	var out []Repository
	for i, text := range texts {
		r := table(t, text)
		if r.Tag == "" && len(texts) > 1 {
			r.URL += "/" + strconv.Itoa(i+1)
		}
		out = append(out, r)
	}
	return out
}

func row(t testing.TB, line string) *apk.Package {
	t.Helper()
	f := strings.Fields(line)
	if len(f) < 2 {
		t.Fatalf("row %q: expected a name and a version", line)
	}
	p := &apk.Package{Name: f[0], Version: f[1], Checksum: sha1.Sum([]byte(line))}
	for _, field := range f[2:] {
		if err := setField(p, field[:2], field[2:]); err != nil {
			t.Fatalf("row %q: %v", line, err)
		}
	}
	return p
}

func setField(p *apk.Package, key, value string) (err error) {
	list := strings.ReplaceAll(value, ",", " ")
	switch key {
	case "D:":
		p.Depends, err = apk.ParseDependencies(list)
	case "p:":
		p.Provides, err = apk.ParseDependencies(list)
	case "i:":
		p.InstallIf, err = apk.ParseDependencies(list)
	case "k:":
		p.ProviderPriority, err = strconv.ParseInt(value, 10, 64)
	default:
		err = fmt.Errorf("field %q: expected D:, p:, i: or k:", key)
	}
	return err
}
