package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/definition"
)

// commitID is a commit's name.
var commitID = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// refName is what may stand for a branch or tag: git itself refuses more, and nothing
// here may look like an option.
var refName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+@=-]*$`)

// checkout is what is known of a cached checkout.
type checkout struct {
	Commit string `json:"commit"`
	SHA256 string `json:"sha256"` // of the archive
}

// git makes a checkout, or takes the one in the cache. Beside the archive stands what
// was checked out, with the archive's hash.
func (t *taker) git(ctx context.Context, g *definition.GitSource, to string) (Material, error) {
	m := Material{URI: "git+" + redacted(g.Repository), Digest: map[string]string{}}
	if known, err := readCheckout(to); err == nil {
		m.Digest["gitCommit"] = known.Commit
		return m, nil
	}
	if err := checkGit(g); err != nil {
		return m, fmt.Errorf("source %s: %w", m.URI, err)
	}
	u, _ := url.Parse(g.Repository)
	if t.o.Offline && (u == nil || u.Scheme != "file") {
		return m, fmt.Errorf("source %s: %w: offline, and not in %s", m.URI, ErrUnavailable, t.o.Cache)
	}
	tries := max(1, g.Retries)
	backoff := time.Duration(max(1, g.InitialBackoff)) * time.Second
	var commit string
	var err error
	for try := 1; ; try++ {
		t.say("cloning %s", m.URI)
		if commit, err = t.clone(ctx, g, to); err == nil || errors.Is(err, ErrMismatch) || ctx.Err() != nil || try >= tries {
			break
		}
		if wait(ctx, backoff) != nil {
			break
		}
		backoff = min(2*backoff, time.Duration(max(1, g.MaxBackoff))*time.Second)
	}
	if ctx.Err() != nil {
		return m, context.Cause(ctx)
	}
	if err != nil {
		return m, fmt.Errorf("source %s: %w", m.URI, err)
	}
	m.Digest["gitCommit"] = commit
	return m, nil
}

// checkGit refuses what git could take for something else than it says.
func checkGit(g *definition.GitSource) error {
	u, err := url.Parse(g.Repository)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "git" && u.Scheme != "ssh" && u.Scheme != "file" {
		return fmt.Errorf("%w: repository %.200q: expected a URL of the scheme https, http, git, ssh or file", ErrUnavailable, g.Repository)
	}
	for what, ref := range map[string]string{"branch": g.Branch, "tag": g.Tag} {
		if ref != "" && (!refName.MatchString(ref) || strings.Contains(ref, "..")) {
			return fmt.Errorf("%w: %s %.200q: not a name that git has", ErrUnavailable, what, ref)
		}
	}
	if g.Commit != "" && !commitID.MatchString(g.Commit) {
		return fmt.Errorf("%w: commit %.200q: expected 40 hexadecimal digits", ErrUnavailable, g.Commit)
	}
	for _, p := range g.CherryPicks {
		if !commitID.MatchString(p.Commit) || p.Branch != "" && !refName.MatchString(p.Branch) {
			return fmt.Errorf("%w: cherry-pick %.100q of %.100q: expected a commit, and the name of a branch", ErrUnavailable, p.Commit, p.Branch)
		}
	}
	for _, p := range g.SparsePaths {
		if strings.HasPrefix(p, "-") {
			return fmt.Errorf("%w: sparse path %.200q: begins with a dash", ErrUnavailable, p)
		}
	}
	return nil
}

func readCheckout(to string) (*checkout, error) {
	raw, err := os.ReadFile(to + ".json")
	if err != nil {
		return nil, err
	}
	var c checkout
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	sums, err := sumsOf(to)
	if err == nil && (sums["sha256"] != c.SHA256 || !commitID.MatchString(c.Commit)) {
		err = fs.ErrNotExist
	}
	return &c, err
}

// clone makes the archive of a checkout.
func (t *taker) clone(ctx context.Context, g *definition.GitSource, to string) (commit string, err error) {
	work, err := os.MkdirTemp(filepath.Dir(to), ".git-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	repo := filepath.Join(work, "tree")
	r := &gitRunner{ctx: ctx, home: work, dir: repo, t: t}
	ref := g.Branch
	if g.Tag != "" {
		ref = g.Tag
	}
	args := []string{"clone", "--quiet", "--no-hardlinks"}
	if ref != "" {
		args = append(args, "--branch="+ref, "--single-branch")
	}
	if g.Depth > 0 && len(g.CherryPicks) == 0 && !(g.Branch != "" && g.Commit != "" && !g.TipOnly) {
		args = append(args, fmt.Sprintf("--depth=%d", g.Depth))
	}
	if len(g.SparsePaths) > 0 {
		args = append(args, "--sparse")
	}
	if err := r.at(work, append(args, "--", g.Repository, repo)...); err != nil {
		return "", err
	}
	if len(g.SparsePaths) > 0 {
		if err := r.run(append([]string{"sparse-checkout", "set", "--"}, g.SparsePaths...)...); err != nil {
			return "", err
		}
	}
	if commit, err = r.settle(g); err != nil {
		return "", err
	}
	if err := r.picks(g, commit); err != nil {
		return "", err
	}
	if g.Submodules {
		args := []string{"submodule", "update", "--quiet", "--init", "--recursive", fmt.Sprintf("--jobs=%d", max(1, g.SubmoduleJobs))}
		if g.ShallowSubmodules {
			args = append(args, "--depth=1")
		}
		if err := r.run(args...); err != nil {
			return "", err
		}
	}
	return commit, t.archive(repo, to, commit)
}

// settle checks out the commit that is pinned, and compares.
func (r *gitRunner) settle(g *definition.GitSource) (string, error) {
	head, err := r.output("rev-parse", "HEAD^{commit}")
	if err != nil {
		return "", err
	}
	switch {
	case g.Commit == "" || head == g.Commit:
		return head, nil
	case g.Tag != "":
		if object, err := r.output("rev-parse", "refs/tags/"+g.Tag); err == nil && object == g.Commit {
			return head, nil
		}
		return "", fmt.Errorf("%w: tag %s is %s, expected %s", ErrMismatch, g.Tag, head, g.Commit)
	case g.Branch != "" && g.TipOnly:
		return "", fmt.Errorf("%w: branch %s is at %s, expected %s", ErrMismatch, g.Branch, head, g.Commit)
	}
	if err := r.run("merge-base", "--is-ancestor", g.Commit, "HEAD"); err != nil {
		return "", fmt.Errorf("%w: commit %s is not in the history of %s", ErrMismatch, g.Commit, head)
	}
	return g.Commit, r.run("checkout", "--quiet", "--detach", g.Commit)
}

// picks applies commits on top, as nobody and at no time, so that the result follows
// from them.
func (r *gitRunner) picks(g *definition.GitSource, commit string) error {
	for _, p := range g.CherryPicks {
		if p.Branch != "" {
			if err := r.run("fetch", "--quiet", "origin", "--", p.Branch); err != nil {
				return err
			}
		} else if err := r.run("cat-file", "-e", p.Commit+"^{commit}"); err != nil {
			if err := r.run("fetch", "--quiet", "origin", "--", p.Commit); err != nil {
				return err
			}
		}
		if err := r.run("cherry-pick", "--no-commit", p.Commit); err != nil {
			return fmt.Errorf("cherry-pick %s onto %s: %w", p.Commit, commit, err)
		}
	}
	return nil
}

// archive packs a checkout, in the order of names and without times of this machine.
func (t *taker) archive(repo, to, commit string) error {
	// What git writes of the clone itself differs from clone to clone.
	for _, name := range []string{"logs", "FETCH_HEAD", "ORIG_HEAD"} {
		if err := os.RemoveAll(filepath.Join(repo, ".git", name)); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".source-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	err = writeTar(repo, f, h)
	if err == nil {
		err = f.Chmod(0o444)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), to); err != nil {
		return err
	}
	known, err := json.Marshal(checkout{Commit: commit, SHA256: hex.EncodeToString(h.Sum(nil))})
	if err != nil {
		return err
	}
	temp := to + ".json.new"
	if err := os.WriteFile(temp, known, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, to+".json")
}

// gitRunner runs git without the user's settings, hooks and prompts.
type gitRunner struct {
	ctx       context.Context
	home, dir string
	t         *taker
}

func (r *gitRunner) command(dir string, args ...string) *exec.Cmd {
	all := append([]string{"-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
		"-c", "protocol.ext.allow=never", "-c", "core.fsmonitor=false", "-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "index.version=2"}, args...)
	cmd := exec.CommandContext(r.ctx, "git", all...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true",
		"GIT_LFS_SKIP_SMUDGE=1", "LC_ALL=C", "TZ=UTC"}
	// What the caller says in this way, such as a mirror, holds; none of it gets by what
	// the definition pins.
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "GIT_CONFIG_COUNT=") || strings.HasPrefix(v, "GIT_CONFIG_KEY_") || strings.HasPrefix(v, "GIT_CONFIG_VALUE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	for _, name := range []string{"SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

func (r *gitRunner) at(dir string, args ...string) error {
	out, err := r.command(dir, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: git: not installed here", ErrUnavailable)
	}
	return fmt.Errorf("%w: git %s: %w: %s", ErrUnavailable, args[0], err, lastLine(out))
}

func (r *gitRunner) run(args ...string) error { return r.at(r.dir, args...) }

func (r *gitRunner) output(args ...string) (string, error) {
	out, err := r.command(r.dir, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%w: git %s: %w", ErrUnavailable, args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}
