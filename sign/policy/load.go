package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/strictyaml"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Problem is one thing that is wrong with a policy, Errors every such thing in
// the order of their positions.
type (
	Problem = strictyaml.Problem
	Errors  = strictyaml.Errors
)

// maxPolicySize bounds a policy file, in bytes.
const maxPolicySize = 1 << 20

// Load reads and checks a policy and the files it names. The error is *[Errors]
// when the policy is at fault.
func Load(path string) (*Policy, error) {
	text, err := readLimited(path, maxPolicySize)
	if err != nil {
		return nil, err
	}
	return Parse(path, text, filepath.Dir(path))
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, strictyaml.TooLarge(path, "policy", limit)
	}
	return text, nil
}

// Parse checks a policy; dir is where the files that it names are looked for.
func Parse(name string, text []byte, dir string) (*Policy, error) {
	r := strictyaml.New(name, "policy")
	var f File
	if root := r.Document(text, "version and images"); root != nil {
		r.Decode(root, &f, strictyaml.Options{})
	}
	c := compiler{Report: r, dir: dir, hash: []byte(hexOf(text))}
	p := c.policy(&f)
	if err := r.Err(); err != nil {
		return nil, err
	}
	p.Name, p.Hash = name, hexOf(c.hash)
	return p, nil
}

func hexOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// compiler turns what was decoded into what is evaluated.
type compiler struct {
	*strictyaml.Report
	dir  string
	hash []byte // hex hashes of everything that was read
}

func (c *compiler) policy(f *File) *Policy {
	if f.Version != 1 && c.Has("version") && !c.Reported("version") {
		c.Bad("version", "unknown version", fmt.Sprintf("found %d, expected 1", f.Version), "")
	}
	if len(f.Images) == 0 && c.Has("images") {
		c.Bad("images", "empty", "expected at least one entry", "an image that no entry matches is refused")
	}
	p := &Policy{}
	for i := range f.Images {
		p.Entries = append(p.Entries, c.entry(fmt.Sprintf("images[%d]", i), f.Images[i]))
	}
	return p
}

func (c *compiler) entry(key string, f EntryFile) *Entry {
	e := &Entry{file: f, threshold: 1}
	for i, m := range f.Match {
		e.match = c.pattern(e.match, fmt.Sprintf("%s.match[%d]", key, i), spelled(m))
	}
	if len(f.Match) > 0 {
		e.Name = f.Match[0]
	} else if c.Has(key + ".match") {
		c.Bad(key+".match", "empty", "expected at least one pattern", `"**" matches every image`)
	}
	if f.Allow {
		c.alone(key, f)
		return e
	}
	c.signersOf(key, f, e)
	c.trustOf(key, f, e)
	c.conditions(key, f, e)
	return e
}

// alone refuses conditions beside allow.
func (c *compiler) alone(key string, f EntryFile) {
	f.Match, f.Allow = nil, false
	if !isZero(f) {
		c.Bad(key+".allow", "conflict", "found conditions beside allow: true, expected none",
			"remove allow to have the conditions checked")
	}
}

func (c *compiler) pattern(to []pattern, key, text string) []pattern {
	p, err := newPattern(text)
	if err != nil {
		c.Bad(key, "not a pattern", err.Error(), "")
		return to
	}
	return append(to, p)
}

func (c *compiler) signersOf(key string, f EntryFile, e *Entry) {
	if f.Signers == nil {
		c.Bad(key, "no signers", "expected signers, or allow: true", "a policy that asks for no signature proves nothing; statements count by who signed them")
		return
	}
	e.threshold = max(1, f.Signers.Threshold)
	for i, text := range f.Signers.Annotations {
		at := fmt.Sprintf("%s.signers.annotations[%d]", key, i)
		name, value, ok := strings.Cut(text, "=")
		_, twice := e.annotations[name]
		switch {
		case !ok || name == "":
			c.Bad(at, "not an annotation", fmt.Sprintf("found %q, expected name=value", text), "")
		case twice:
			c.Bad(at, "duplicate annotation", fmt.Sprintf("found %q again", name), "")
		default:
			if e.annotations == nil {
				e.annotations = map[string]string{}
			}
			e.annotations[name] = value
		}
	}
	e.signers = c.signerList(key+".signers", f.Signers.Keys, f.Signers.Identities)
	if n := len(f.Signers.Keys) + len(f.Signers.Identities); n == 0 {
		c.Bad(key+".signers", "empty", "expected keys or identities", "")
	} else if e.threshold > n && !hasPattern(f.Signers.Identities) {
		c.Bad(key+".signers.threshold", "cannot be met", fmt.Sprintf("found %d, and %d signers", e.threshold, n), "")
	}
	e.attesters = e.signers
	if f.Attesters != nil {
		e.attesters = append(e.attesters[:len(e.attesters):len(e.attesters)],
			c.signerList(key+".attesters", f.Attesters.Keys, f.Attesters.Identities)...)
	}
}

func hasPattern(list []IdentityFile) bool {
	for _, id := range list {
		if id.SubjectPattern != "" {
			return true
		}
	}
	return false
}

func (c *compiler) signerList(key string, keys []KeyFile, identities []IdentityFile) []verify.Signer {
	var out []verify.Signer
	seen := map[string]bool{}
	for i, k := range keys {
		at := fmt.Sprintf("%s.keys[%d]", key, i)
		s, ok := c.key(at, k)
		if ok && seen[s.Key.Fingerprint] {
			c.Bad(at, "duplicate key", "found "+s.Key.Fingerprint+" again", "")
		}
		if ok {
			seen[s.Key.Fingerprint] = true
			out = append(out, s)
		}
	}
	for i, id := range identities {
		at := fmt.Sprintf("%s.identities[%d]", key, i)
		if !c.Has(at + ".issuer") {
			continue // reported as missing
		}
		v, err := verify.NewIdentity(id.Issuer, id.Subject, id.SubjectPattern)
		if err != nil {
			c.Bad(at, "bad identity", strings.TrimPrefix(err.Error(), "identity: "), "")
			continue
		}
		out = append(out, verify.Signer{Name: cmp.Or(id.Name, id.Subject, id.SubjectPattern), Identity: v})
	}
	return out
}

func (c *compiler) key(key string, k KeyFile) (verify.Signer, bool) {
	text := []byte(k.PEM)
	switch {
	case k.File != "" && k.PEM != "" || k.File == "" && k.PEM == "":
		c.Bad(key, "bad key", "expected one of file and pem", "")
		return verify.Signer{}, false
	case k.File != "":
		var ok bool
		if text, ok = c.read(key+".file", k.File, 64<<10); !ok {
			return verify.Signer{}, false
		}
	}
	v, err := verify.ParseKey(text)
	if err != nil {
		c.Bad(key, "bad key", err.Error(), "")
		return verify.Signer{}, false
	}
	return verify.Signer{Name: cmp.Or(k.Name, k.File, v.Fingerprint), Key: v}, true
}

// read reads a file beside the policy and takes it into the policy's hash.
func (c *compiler) read(key, name string, limit int64) ([]byte, bool) {
	path := c.path(name)
	text, err := readLimited(path, limit)
	if err != nil {
		var pathErr *os.PathError
		detail := err.Error()
		if errors.As(err, &pathErr) {
			detail = path + ": " + pathErr.Err.Error()
		}
		c.Bad(key, "cannot be read", detail, "")
		return nil, false
	}
	c.hash = append(c.hash, hexOf(text)...)
	return text, true
}

func (c *compiler) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

func (c *compiler) trustOf(key string, f EntryFile, e *Entry) {
	t := f.Trust
	if t == nil {
		t = &TrustFile{}
	}
	var trust verify.Trust
	if t.Root != "" {
		if _, ok := c.read(key+".trust.root", t.Root, 8<<20); !ok {
			return
		}
		r, err := verify.ReadTrustedRoot(c.path(t.Root))
		if err != nil {
			c.Bad(key+".trust.root", "not a trusted root", err.Error(), "")
			return
		}
		trust = verify.NewTrust(r)
	} else {
		c.withoutRoot(key, f, t)
	}
	if t.Log != nil {
		trust.Log = *t.Log
	}
	if t.SCT != nil {
		trust.SCTs = *t.SCT
	}
	trust.Timestamps = t.Timestamps
	e.trust = trust
	if c.Failed() {
		return
	}
	var err error
	if e.engine, err = verify.New(trust); err != nil {
		c.Bad(key+".trust", "cannot be met", err.Error(), "")
	}
}

// withoutRoot checks that nothing is required that only a root could check, and
// that going without a log was a choice.
func (c *compiler) withoutRoot(key string, f EntryFile, t *TrustFile) {
	const detail = "there is no trusted root to check it with"
	if t.Log == nil {
		c.Bad(key+".trust", "no trusted root", "expected root, or log: 0 to accept signatures that are in no transparency log",
			"without a log a stolen key signs unseen")
	} else if *t.Log > 0 {
		c.Bad(key+".trust.log", "cannot be met", detail, "set trust.root")
	}
	if t.Timestamps > 0 {
		c.Bad(key+".trust.timestamps", "cannot be met", detail, "set trust.root")
	}
	if f.Signers != nil && len(f.Signers.Identities) > 0 {
		c.Bad(key+".signers.identities", "no trusted root", "certificates cannot be checked without one", "set trust.root")
	}
	if f.MaxAge != "" {
		c.Bad(key+".maxAge", "cannot be met", "without a trusted root there is no signed time", "set trust.root")
	}
}

func (c *compiler) conditions(key string, f EntryFile, e *Entry) {
	e.maxAge = c.duration(key+".maxAge", f.MaxAge)
	if p := f.Provenance; p != nil {
		for i, s := range p.ConfigSources {
			e.sources = c.pattern(e.sources, fmt.Sprintf("%s.provenance.configSources[%d]", key, i), s)
		}
		for i, s := range p.Repositories {
			e.repos = c.pattern(e.repos, fmt.Sprintf("%s.provenance.repositories[%d]", key, i), strings.TrimSuffix(s, "/"))
		}
	}
	if p := f.Packages; p != nil {
		e.forbidden = c.dependencies(key+".packages.forbidden", p.Forbidden)
		e.required = c.dependencies(key+".packages.required", p.Required)
	}
	if v := f.Vulnerabilities; v != nil {
		e.scanAge = c.duration(key+".vulnerabilities.maxAge", v.MaxAge)
	}
	if f.CompositionProof != nil {
		e.proofKeys = c.proofKeys(key+".compositionProof.keys", f.CompositionProof.Keys)
	}
	for i, r := range f.Rules {
		at := fmt.Sprintf("%s.rules[%d]", key, i)
		if r.CEL == "" {
			continue // reported as missing
		}
		rule, err := compileCEL(r)
		if err != nil {
			c.Bad(at+".cel", "not an expression", err.Error(), "")
			continue
		}
		e.rules = append(e.rules, rule)
	}
}

func (c *compiler) proofKeys(key string, files []string) []repository.Key {
	var out []repository.Key
	if len(files) == 0 && c.Has(key) {
		c.Bad(key, "empty", "expected at least one key", "a proof by keys that came with the image proves nothing")
	}
	for i, name := range files {
		at := fmt.Sprintf("%s[%d]", key, i)
		text, ok := c.read(at, name, 64<<10)
		if !ok {
			continue
		}
		k, err := repository.ParseKey(name, text)
		if err != nil {
			c.Bad(at, "bad key", err.Error(), "")
			continue
		}
		out = append(out, k)
	}
	return out
}

func (c *compiler) dependencies(key string, list []string) []apk.Dependency {
	var out []apk.Dependency
	for i, s := range list {
		d, err := apk.ParseDependency(s)
		if err == nil && d.Conflict {
			err = errors.New("found a \"!\", expected a package with or without a version")
		}
		if err != nil {
			c.Bad(fmt.Sprintf("%s[%d]", key, i), "not a package", err.Error(), "")
			continue
		}
		out = append(out, d)
	}
	return out
}

// duration reads Go's durations, and days: 30d.
func (c *compiler) duration(key, text string) time.Duration {
	if text == "" {
		return 0
	}
	var d time.Duration
	var err error
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		if err == nil && n > 36500 {
			err = errors.New("too long")
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		c.Bad(key, "not a duration", fmt.Sprintf("found %q, expected a positive one such as 30d or 12h", text), "")
		return 0
	}
	return d
}
