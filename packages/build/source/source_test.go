package source

import (
	"archive/tar"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cairn-dev/cairn/packages/definition"
)

func sha(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func fileUse(uri, content string) definition.SourceUse {
	return definition.SourceUse{Source: &definition.Source{URI: uri, SHA256: sha(content), File: "sha256:" + sha(content), Retries: 3}}
}

func TestTakeFiles(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		switch {
		case r.URL.Path == "/flaky" && n%3 != 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		case r.URL.Path == "/none":
			w.WriteHeader(http.StatusNotFound)
		default:
			io.WriteString(w, "hello")
		}
	}))
	defer srv.Close()
	cache := t.TempDir()
	take := func(offline bool, uses ...definition.SourceUse) (*Set, error) {
		return Take(t.Context(), uses, Options{Cache: cache, Offline: offline, Client: srv.Client()})
	}
	use := fileUse(srv.URL+"/hello", "hello")
	for i := range 2 { // the second time from the cache
		set, err := take(i == 1, use, use)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(set.Dir, use.Source.File))
		if err != nil || string(b) != "hello" || len(set.Materials) != 1 || set.Materials[0].Digest["sha256"] != sha("hello") || set.Materials[0].Digest["sha512"] != fmt.Sprintf("%x", sha512.Sum512([]byte("hello"))) {
			t.Errorf("%q, %v, %+v", b, err, set.Materials)
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// A damaged file of the cache is taken again.
	name := filepath.Join(cache, use.Source.File)
	os.Chmod(name, 0o644)
	if err := os.WriteFile(name, []byte("hallo"), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := take(false, use)
	if err != nil || asked.Load() != 2 {
		t.Errorf("damaged: %v, asked %d times", err, asked.Load())
	}
	set.Close()
	os.Remove(name)
	asked.Store(0)
	flaky := fileUse(srv.URL+"/flaky", "hello")
	if set, err := take(false, flaky); err != nil || asked.Load() != 3 {
		t.Errorf("after failures that pass: %v, asked %d times", err, asked.Load())
	} else {
		set.Close()
	}
	for what, c := range map[string]struct {
		use  definition.SourceUse
		want error
	}{
		"another hash": {fileUse(srv.URL+"/other", "something else"), ErrMismatch},
		"not there":    {fileUse(srv.URL+"/none", "none"), ErrUnavailable},
		"cut short":    {fileUse(srv.URL+"/cut", "short"), ErrUnavailable},
		"no URL":       {fileUse("ext::sh -c id", "x"), ErrUnavailable},
		"another file": {definition.SourceUse{Source: &definition.Source{URI: srv.URL, File: "../../etc/passwd"}}, nil},
	} {
		if set, err := take(false, c.use); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", what, set, err)
		}
	}
	if _, err := take(true, fileUse(srv.URL+"/new", "new")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("offline: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(cache, ".*"))
	if len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// repository makes a git repository with two commits, a tag and a branch, and returns
// its URL and the commits.
func repository(t *testing.T) (url string, commits []string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--initial-branch=main")
	for i, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", name)
		git("commit", "--quiet", "-m", name)
		if i == 0 {
			git("tag", "-m", "first", "v1")
		}
		commits = append(commits, git("rev-parse", "HEAD"))
	}
	commits = append(commits, git("rev-parse", "refs/tags/v1"))
	return "file://" + dir, commits
}

func members(t *testing.T, name string) (out []string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			slices.Sort(out)
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || !h.ModTime.IsZero() && h.ModTime.Unix() > 0 {
			t.Errorf("%s: owner %d, time %s", h.Name, h.Uid, h.ModTime)
		}
		if !strings.HasPrefix(h.Name, ".git/") {
			out = append(out, h.Name)
		}
	}
}

func TestTakeGit(t *testing.T) {
	url, commits := repository(t)
	cache := t.TempDir()
	for i, c := range []struct {
		name   string
		git    definition.GitSource
		commit string
		files  []string
		want   error
	}{
		{"a tag's commit", definition.GitSource{Tag: "v1", Commit: commits[0], Depth: 1}, commits[0], []string{"one"}, nil},
		{"the tag itself", definition.GitSource{Tag: "v1", Commit: commits[2], Depth: 1}, commits[0], []string{"one"}, nil},
		{"another commit than the tag's", definition.GitSource{Tag: "v1", Commit: commits[1], Depth: 1}, "", nil, ErrMismatch},
		{"a branch's tip", definition.GitSource{Branch: "main", Commit: commits[1], Depth: 1, TipOnly: true}, commits[1], []string{"one", "two"}, nil},
		{"a commit of a branch", definition.GitSource{Branch: "main", Commit: commits[0], Depth: 1}, commits[0], []string{"one"}, nil},
		{"not the tip", definition.GitSource{Branch: "main", Commit: commits[0], TipOnly: true}, "", nil, ErrMismatch},
		{"whatever it is", definition.GitSource{Depth: 1}, commits[1], []string{"one", "two"}, nil},
		{"no branch", definition.GitSource{Branch: "none"}, "", nil, ErrUnavailable},
		{"an option for a branch", definition.GitSource{Branch: "--upload-pack=id"}, "", nil, ErrUnavailable},
		{"an option for a commit", definition.GitSource{Commit: "--output=/tmp/x"}, "", nil, ErrUnavailable},
		{"a helper for a repository", definition.GitSource{Repository: "ext::sh -c id"}, "", nil, ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.git.Repository == "" {
				c.git.Repository = url
			}
			c.git.File = "git:" + sha(fmt.Sprint(i))
			uses := []definition.SourceUse{{Git: &c.git}}
			set, err := Take(t.Context(), uses, Options{Cache: cache})
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Errorf("found %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer set.Close()
			if set.Materials[0].Digest["gitCommit"] != c.commit {
				t.Errorf("commit %v, expected %s", set.Materials, c.commit)
			}
			if got := slices.DeleteFunc(members(t, filepath.Join(set.Dir, c.git.File)), func(s string) bool { return strings.HasPrefix(s, ".git") }); !slices.Equal(got, c.files) {
				t.Errorf("files %v, expected %v", got, c.files)
			}
			again, err := Take(t.Context(), uses, Options{Cache: cache, Offline: true})
			if err != nil || again.Materials[0].Digest["gitCommit"] != c.commit {
				t.Errorf("from the cache: %v, %v", again, err)
			} else {
				again.Close()
			}
		})
	}
}

// What the caller tells git by the environment holds, so that a mirror can stand in.
func TestTakeGitFromMirror(t *testing.T) {
	url, commits := repository(t)
	git := &definition.GitSource{Repository: "https://git.example.invalid/org/name", Tag: "v1", Commit: commits[0], Depth: 1, File: "git:" + sha("mirror")}
	uses := []definition.SourceUse{{Git: git}}
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "url."+url+".insteadOf")
	t.Setenv("GIT_CONFIG_VALUE_0", git.Repository)
	set, err := Take(t.Context(), uses, Options{Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if m := set.Materials[0]; m.URI != "git+"+git.Repository || m.Digest["gitCommit"] != commits[0] {
		t.Errorf("%+v", m)
	}
	git.Commit = commits[1] // a mirror does not get by what is pinned
	if _, err := Take(t.Context(), uses, Options{Cache: t.TempDir()}); !errors.Is(err, ErrMismatch) {
		t.Errorf("another commit: %v", err)
	}
}
