package definition

// Update says how new versions of the package are found. cairn keeps it for the
// programs that do so.
type Update struct {
	Enabled             bool                `json:"enabled" yaml:"enabled"`
	Manual              bool                `json:"manual,omitempty" yaml:"manual"`
	RequireSequential   bool                `json:"require-sequential,omitempty" yaml:"require-sequential"`
	Shared              bool                `json:"shared,omitempty" yaml:"shared,omitempty"`
	VersionSeparator    string              `json:"version-separator,omitempty" yaml:"version-separator,omitempty"`
	IgnoreRegexPatterns []string            `json:"ignore-regex-patterns,omitempty" yaml:"ignore-regex-patterns,omitempty"`
	ReleaseMonitor      *ReleaseMonitor     `json:"release-monitor,omitempty" yaml:"release-monitor,omitempty"`
	GitHub              *GitHubMonitor      `json:"github,omitempty" yaml:"github,omitempty"`
	Git                 *GitMonitor         `json:"git,omitempty" yaml:"git,omitempty"`
	OCI                 *OCIMonitor         `json:"oci,omitempty" yaml:"oci,omitempty"`
	VersionData         *VersionDataMonitor `json:"version_data,omitempty" yaml:"version_data,omitempty"`
	VersionTransform    []VersionTransform  `json:"version-transform,omitempty" yaml:"version-transform,omitempty"`
	// ExcludeReason says why updates are off.
	ExcludeReason        string    `json:"exclude-reason,omitempty" yaml:"exclude-reason,omitempty"`
	Schedule             *Schedule `json:"schedule,omitempty" yaml:"schedule,omitempty"`
	EnablePreReleaseTags bool      `json:"enable-prerelease-tags,omitempty" yaml:"enable-prerelease-tags,omitempty"`
}

// ReleaseMonitor is a project of release-monitoring.org.
type ReleaseMonitor struct {
	Identifier            int    `json:"identifier" yaml:"identifier"`
	StripPrefix           string `json:"strip-prefix,omitempty" yaml:"strip-prefix,omitempty"`
	StripSuffix           string `json:"strip-suffix,omitempty" yaml:"strip-suffix,omitempty"`
	VersionFilterContains string `json:"version-filter-contains,omitempty" yaml:"version-filter-contains,omitempty"`
	VersionFilterPrefix   string `json:"version-filter-prefix,omitempty" yaml:"version-filter-prefix,omitempty"`
}

// GitHubMonitor is a repository on GitHub, as "owner/name".
type GitHubMonitor struct {
	Identifier  string `json:"identifier" yaml:"identifier"`
	StripPrefix string `json:"strip-prefix,omitempty" yaml:"strip-prefix,omitempty"`
	StripSuffix string `json:"strip-suffix,omitempty" yaml:"strip-suffix,omitempty"`
	// TagFilter is the old name of TagFilterPrefix.
	TagFilter         string `json:"tag-filter,omitempty" yaml:"tag-filter,omitempty"`
	TagFilterPrefix   string `json:"tag-filter-prefix,omitempty" yaml:"tag-filter-prefix,omitempty"`
	TagFilterContains string `json:"tag-filter-contains,omitempty" yaml:"tag-filter-contains,omitempty"`
	// UseTags looks at tags rather than releases.
	UseTags bool `json:"use-tag,omitempty" yaml:"use-tag,omitempty"`
}

// GitMonitor looks at the tags of the repository that is checked out.
type GitMonitor struct {
	StripPrefix       string `json:"strip-prefix,omitempty" yaml:"strip-prefix,omitempty"`
	StripSuffix       string `json:"strip-suffix,omitempty" yaml:"strip-suffix,omitempty"`
	TagFilterPrefix   string `json:"tag-filter-prefix,omitempty" yaml:"tag-filter-prefix,omitempty"`
	TagFilterContains string `json:"tag-filter-contains,omitempty" yaml:"tag-filter-contains,omitempty"`
}

// OCIMonitor looks at the tags of an image.
type OCIMonitor struct {
	Identifier        string `json:"identifier" yaml:"identifier"`
	StripPrefix       string `json:"strip-prefix,omitempty" yaml:"strip-prefix,omitempty"`
	StripSuffix       string `json:"strip-suffix,omitempty" yaml:"strip-suffix,omitempty"`
	TagFilterPrefix   string `json:"tag-filter-prefix,omitempty" yaml:"tag-filter-prefix,omitempty"`
	TagFilterContains string `json:"tag-filter-contains,omitempty" yaml:"tag-filter-contains,omitempty"`
}

// VersionDataMonitor puts a version together from several sources.
type VersionDataMonitor struct {
	Format  string              `json:"version_format" yaml:"version_format"`
	Sources []VersionDataSource `json:"sources" yaml:"sources"`
}

// VersionDataSource is one of the sources of a [VersionDataMonitor].
type VersionDataSource struct {
	Name         string   `json:"name" yaml:"name"`
	Stream       string   `json:"stream" yaml:"stream"`
	Ignore       []string `json:"ignore,omitempty" yaml:"ignore,omitempty"`
	CommitSource string   `json:"commit_source,omitempty" yaml:"commit_source,omitempty"`
	UseRelease   bool     `json:"use_release,omitempty" yaml:"use_release,omitempty"`
}

// VersionTransform turns an upstream version into one of apk.
type VersionTransform struct {
	Match   string `json:"match" yaml:"match"`
	Replace string `json:"replace" yaml:"replace"`
}

// Schedule says how often to look for updates.
type Schedule struct {
	Reason string `json:"reason,omitempty" yaml:"reason,omitempty"`
	Period string `json:"period,omitempty" yaml:"period,omitempty"`
}
