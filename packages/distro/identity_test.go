package distro

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestIdentity(t *testing.T) {
	dependency := func(text string) []apk.Dependency {
		d, err := apk.ParseDependency(text)
		if err != nil {
			t.Fatal(err)
		}
		return []apk.Dependency{d}
	}
	spec := func(change func(*apktest.Spec)) string {
		s := apktest.Spec{Package: apk.Package{Name: "a", Version: "1-r0", Arch: "x86_64"}, Parents: true, Scripts: map[string]string{"post-install": "#!/bin/sh\n"},
			Files: []apktest.File{{Path: "usr/bin/a", Mode: 0o755, Content: "a"}, {Path: "var/lib/db/sbom/a-1-r0.spdx.json", Content: "{}"}}}
		if change != nil {
			change(&s)
		}
		name := filepath.Join(t.TempDir(), "a.apk")
		if err := os.WriteFile(name, apktest.Build(s), 0o644); err != nil {
			t.Fatal(err)
		}
		id, err := Identity(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	plain := spec(nil)
	for name, test := range map[string]struct {
		same   bool
		change func(*apktest.Spec)
	}{
		"again":       {true, nil},
		"commit":      {true, func(s *apktest.Spec) { s.Package.Commit = "abc" }},
		"description": {true, func(s *apktest.Spec) { s.Package.Description = "abc" }},
		"build time":  {true, func(s *apktest.Spec) { s.Package.BuildTime, s.Files[0].MTime = 1, 1 }},
		"signature":   {true, func(s *apktest.Spec) { s.Sign = apktest.NewKey("k.rsa.pub") }},
		"padding":     {true, func(s *apktest.Spec) { s.TrailingZeroBlocks = 20 }},
		"sbom":        {true, func(s *apktest.Spec) { s.Files[1].Content = "{ }" }},
		"content":     {false, func(s *apktest.Spec) { s.Files[0].Content = "b" }},
		"mode":        {false, func(s *apktest.Spec) { s.Files[0].Mode = 0o700 }},
		"owner":       {false, func(s *apktest.Spec) { s.Files[0].UID = 5 }},
		"owner's name": {false, func(s *apktest.Spec) {
			s.Files[0].Uname = "daemon"
		}},
		"xattr":         {false, func(s *apktest.Spec) { s.Files[0].Xattrs = map[string]string{"user.a": "b"} }},
		"path":          {false, func(s *apktest.Spec) { s.Files[0].Path = "usr/bin/b" }},
		"kind":          {false, func(s *apktest.Spec) { s.Files[0] = apktest.File{Path: "usr/bin/a", Type: apk.TypeSymlink, Link: "b"} }},
		"one file less": {false, func(s *apktest.Spec) { s.Files = s.Files[1:] }},
		"version":       {false, func(s *apktest.Spec) { s.Package.Version = "1-r1" }},
		"depends":       {false, func(s *apktest.Spec) { s.Package.Depends = dependency("b") }},
		"provides":      {false, func(s *apktest.Spec) { s.Package.Provides = dependency("b") }},
		"replaces":      {false, func(s *apktest.Spec) { s.Package.Replaces = dependency("b") }},
		"triggers":      {false, func(s *apktest.Spec) { s.Package.Triggers = []string{"/usr/bin"} }},
		"priority":      {false, func(s *apktest.Spec) { s.Package.ProviderPriority = 5 }},
		"script":        {false, func(s *apktest.Spec) { s.Scripts["post-install"] = "#!/bin/sh\ntrue\n" }},
		"other script":  {false, func(s *apktest.Spec) { s.Scripts = map[string]string{"pre-install": "#!/bin/sh\n"} }},
	} {
		if got := spec(test.change); (got == plain) != test.same {
			t.Errorf("%s: same identity is %v, expected %v", name, got == plain, test.same)
		}
	}
}
