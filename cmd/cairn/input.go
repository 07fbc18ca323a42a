package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
)

// inputFlags are the flags of every command that reads a configuration. The
// names are apko's.
type inputFlags struct {
	archs        []string
	keys         []string
	repositories []string
	buildRepos   []string
	packages     []string
	annotations  []string
	includePaths []string
	vcs          bool
	lockfile     string
	limits       packages.Limits
	storeFlags

	off assemble.Unsafe
}

// storeFlags are the flags of every command that opens the store.
type storeFlags struct {
	cacheDir string
	offline  bool
	maxSize  string
	jobs     int
}

// registerDir adds the flag of commands that only look at the store.
func (s *storeFlags) registerDir(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.cacheDir, "cache-dir", "", "`directory` of the package store and the index cache (default cairn in the user's cache directory)")
}

func (s *storeFlags) register(cmd *cobra.Command) {
	s.registerDir(cmd)
	f := cmd.Flags()
	f.BoolVar(&s.offline, "offline", false, "use no network: what the store does not hold is an error")
	f.StringVar(&s.maxSize, "cache-max-size", "", "keep the store below this `size`, as in 20GB (default: no limit)")
	f.IntVar(&s.jobs, "jobs", 0, "packages to fetch at a time (default: twice the processors, at least 4)")
}

func (s *storeFlags) open(a *app, progress func(packages.Event)) (*packages.Workspace, error) {
	return s.openWith(a, packages.Options{Progress: progress})
}

// openWith opens the workspace with the flags and with what o says already.
func (s *storeFlags) openWith(a *app, o packages.Options) (*packages.Workspace, error) {
	size, err := parseSize(s.maxSize)
	if err != nil {
		return nil, usageError{fmt.Errorf("--cache-max-size: %w", err)}
	}
	o.CacheDir, o.Dir, o.Offline, o.MaxSize, o.Jobs = a.at(s.cacheDir), a.workdir, s.offline, size, s.jobs
	if dir, err := os.UserConfigDir(); err == nil {
		o.SecretFile = filepath.Join(dir, "cairn", "cache-secret")
		if ws, err := packages.Open(o); err == nil {
			return ws, nil
		}
		o.SecretFile = "" // a home that cannot be written to must not stop a build
	}
	return packages.Open(o)
}

func (in *inputFlags) open(a *app, progress func(packages.Event)) (*packages.Workspace, error) {
	return in.openWith(a, packages.Options{Progress: progress, Limits: in.limits})
}

func (in *inputFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&in.archs, "arch", nil, "`architectures`, as in x86_64,arm64; host, or all (default: the configuration's)")
	f.StringSliceVarP(&in.keys, "keyring-append", "k", nil, "more `keys` to trust: files or URLs")
	f.StringSliceVarP(&in.repositories, "repository-append", "r", nil, "more `repositories`")
	f.StringSliceVarP(&in.buildRepos, "build-repository-append", "b", nil, "more `repositories` that the image does not know of")
	f.StringSliceVarP(&in.packages, "package-append", "p", nil, "more `packages`")
	f.StringSliceVar(&in.annotations, "annotations", nil, "more annotations, as `key:value`")
	f.StringSliceVar(&in.includePaths, "include-paths", nil, "more `directories` to look for included files in")
	f.BoolVar(&in.vcs, "vcs", true, "find out the URL and revision of the configuration's git checkout")
	f.StringVar(&in.lockfile, "lockfile", "", "the lock `file` (default: CONFIG with .lock.json, when there is one)")
	f.BoolVar(&in.off.UnsignedIndex, "unsafe-unsigned-index", false, "accept indexes without a verified signature (recorded in the image)")
	f.BoolVar(&in.off.UnsignedIndex, "ignore-signatures", false, "apko's name of --unsafe-unsigned-index")
	f.BoolVar(&in.off.MissingDataHash, "unsafe-missing-datahash", false, "accept packages that name no hash of their content (recorded in the image)")
	f.BoolVar(&in.off.PackageSignature, "unsafe-package-signature", false, "do not check the packages' own signatures (recorded in the image)")
	f.BoolVar(&in.off.BrokenSBOM, "unsafe-broken-sbom", false, "skip embedded SBOMs that cannot be read (recorded in the image)")
	f.Int64Var(&in.limits.Control, "max-apk-control-size", 0, "`bytes` that a package's control section may have (0: 10 MiB, -1: any number)")
	f.Int64Var(&in.limits.Data, "max-apk-data-size", 0, "`bytes` that a package's content may have (0: 16 GiB, -1: any number)")
	f.Int64Var(&in.limits.Index, "max-apkindex-decompressed-size", 0, "`bytes` that an index may have (0: 300 MiB, -1: any number)")
	f.Int64Var(&in.limits.Response, "max-http-response-size", 0, "`bytes` that a file may have that is fetched (0: 8 GiB, -1: any number)")
	in.storeFlags.register(cmd)
}

// load reads the configuration and applies the flags to it.
func (in *inputFlags) load(a *app, path string) (*config.Config, error) {
	annotations, err := parseAnnotations(in.annotations)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(path, config.Options{IncludePaths: in.includePaths, ProbeVCS: in.vcs, Dir: a.workdir})
	if err != nil {
		return nil, err
	}
	err = cfg.Apply(config.Overrides{
		Repositories: in.repositories, BuildRepositories: in.buildRepos, Keyring: in.keys,
		Packages: in.packages, Annotations: annotations, Archs: in.archs,
	})
	if err == nil && a.warnings {
		for _, w := range cfg.Warnings {
			fmt.Fprintf(a.std.err, "cairn: warning: %s\n", strings.ReplaceAll(w.String(), "\n", "\n  "))
		}
	}
	return cfg, err
}

// parseAnnotations reads key:value pairs, apko's spelling; key=value is
// accepted too.
func parseAnnotations(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range list {
		i := strings.IndexAny(a, ":=")
		if i <= 0 {
			return nil, usageError{fmt.Errorf("--annotations: found %q, expected key:value", a)}
		}
		out[a[:i]] = a[i+1:]
	}
	return out, nil
}

// parseSize reads a number of bytes with an optional unit: 500MB, 20G, 1GiB.
// Empty is 0.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	units := []struct {
		name  string
		bytes float64
	}{
		{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
		{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
		{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1},
	}
	number, factor := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	var f float64
	if n, err := fmt.Sscanf(number+" end", "%g end", &f); n != 1 || err != nil || f < 0 || f*factor > 1<<62 {
		return 0, fmt.Errorf("found %q, expected a size such as 20GB", s)
	}
	return int64(f * factor), nil
}

// parseBuildDate reads --build-date.
func parseBuildDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usageError{fmt.Errorf("--build-date: found %q, expected a time such as 2026-11-23T12:00:00Z", s)}
	}
	return t, nil
}
