package config

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// gitRepository makes a repository with one commit and returns its name.
func gitRepository(t *testing.T, dir, remote string) string {
	t.Helper()
	body := "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@example.com> 0 +0000\ncommitter a <a@example.com> 0 +0000\n\nfirst\n"
	object := fmt.Appendf(nil, "commit %d\x00%s", len(body), body)
	sum := sha1.Sum(object)
	name := hex.EncodeToString(sum[:])
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write(object); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	config := "[core]\n\trepositoryformatversion = 0\n"
	if remote != "" {
		config += "[remote \"origin\"]\n\turl = " + remote + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
	}
	for path, content := range map[string]string{
		"HEAD": "ref: refs/heads/main\n", "config": config, "refs/heads/main": name + "\n",
		"objects/" + name[:2] + "/" + name[2:]: packed.String(),
	} {
		path = filepath.Join(dir, ".git", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// TestApkoDefect_VCSOnlyBelowWorkingDirectory: apko finds the repository only
// when the build is started above the configuration.
func TestApkoDefect_VCSOnlyBelowWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	commit := gitRepository(t, dir, "https://u:hunter2@h.example/r.git")
	conf := filepath.Join(dir, "deep", "er", "image.yaml")
	if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "annotations: {org.opencontainers.image.source: written}"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	want := "https://h.example/r.git@" + commit
	for _, cwd := range []string{"/", dir, filepath.Dir(conf), t.TempDir()} {
		t.Chdir(cwd)
		c, err := Load(conf, Options{ProbeVCS: true})
		if err != nil {
			t.Fatal(err)
		}
		if c.VCSUrl != want {
			t.Errorf("from %s: %q, expected %q", cwd, c.VCSUrl, want)
		}
		got := c.ImageAnnotations()
		if got["org.opencontainers.image.source"] != "written" || got["org.opencontainers.image.revision"] != commit {
			t.Errorf("a written annotation gives way: %v", got)
		}
	}
	c, err := Load(conf, Options{})
	if err != nil || c.VCSUrl != "" {
		t.Errorf("not asked for: %q, %v", c.VCSUrl, err)
	}
}

func TestVCSProbe(t *testing.T) {
	for _, tc := range []struct{ name, remote, text, want string }{
		{"scp form", "git@h.example:a/b.git", "cmd: a", "git+ssh://h.example/a/b.git@"},
		{"no origin", "", "cmd: a", ""},
		{"written", "https://h.example/r", "vcs-url: https://other/r@1", "https://other/r@1"},
	} {
		dir := t.TempDir()
		commit := gitRepository(t, dir, tc.remote)
		conf := filepath.Join(dir, "image.yaml")
		if err := os.WriteFile(conf, []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Load(conf, Options{ProbeVCS: true})
		if err != nil {
			t.Fatal(err)
		}
		want := tc.want
		if want != "" && want[len(want)-1] == '@' {
			want += commit
		}
		if c.VCSUrl != want {
			t.Errorf("%s: %q, expected %q", tc.name, c.VCSUrl, want)
		}
	}
}
