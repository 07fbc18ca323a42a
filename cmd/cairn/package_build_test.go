package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/build"
	"github.com/cairn-dev/cairn/packages/definition"
)

// A sandbox is not made on an image: it would be without what the definition asks for.
func TestGuestOnBaseImageRefused(t *testing.T) {
	d := &definition.Build{}
	d.File = "x.yaml"
	d.Environment.Contents.BaseImage = &definition.BaseImage{Image: "layout"}
	_, err := (&guests{}).Guest(t.Context(), d, nil, t.TempDir())
	if !errors.Is(err, build.ErrDefinition) || !strings.HasPrefix(err.Error(), "x.yaml: environment.contents.baseimage: ") {
		t.Errorf("found %v", err)
	}
}

// What an environment says beside its packages is in the sandbox's configuration.
func TestEnvironmentConfig(t *testing.T) {
	uid := uint32(7)
	e := &definition.Environment{Paths: []definition.PathMutation{{Path: "/x", Type: "directory", UID: &uid, GID: &uid, Permissions: 0o700}},
		Accounts: definition.Accounts{RunAs: "me", Users: []definition.User{{UserName: "me", UID: 7, GID: &uid}}, Groups: []definition.Group{{GroupName: "me", GID: 7}}}}
	cfg, err := environmentConfig(e, "aarch64", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if a := cfg.Architectures(); len(a) != 1 || a[0].Architecture != "arm64" {
		t.Errorf("architectures %v", a)
	}
	if len(cfg.Paths) != 1 || cfg.Paths[0].Path != "/x" || len(cfg.Accounts.Users) != 1 || cfg.Accounts.RunAs != "" {
		t.Errorf("%+v", cfg)
	}
}
