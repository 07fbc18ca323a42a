package config

import (
	"path/filepath"

	"chainguard.dev/apko/pkg/vcs"
)

// probeVCS sets vcs-url from the git repository around a file. Unlike apko it
// does not ask whether that lies below the working directory: the image must
// not depend on where the build is started. No repository, or one without an
// origin or a commit, leaves vcs-url empty.
func (c *Config) probeVCS(name string) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return
	}
	if v, err := vcs.ProbeDirForVCSUrl(dir, ""); err == nil && vcsProblem(v) == "" {
		c.VCSUrl, c.vcsProbed = v, true
	}
}
