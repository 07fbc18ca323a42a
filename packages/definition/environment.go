package definition

// Environment describes the sandbox: the part of apko's image configuration
// that melange reads.
type Environment struct {
	Contents   Contents   `json:"contents" yaml:"contents,omitempty"`
	Entrypoint Entrypoint `json:"entrypoint" yaml:"entrypoint,omitempty"`
	Cmd        string     `json:"cmd,omitempty" yaml:"cmd,omitempty"`
	StopSignal string     `json:"stop-signal,omitempty" yaml:"stop-signal,omitempty"`
	WorkDir    string     `json:"work-dir,omitempty" yaml:"work-dir,omitempty"`
	Accounts   Accounts   `json:"accounts" yaml:"accounts,omitempty"`
	Archs      []string   `json:"archs,omitempty" yaml:"archs,omitempty"`
	// Environment are variables of every process in the sandbox.
	Environment map[string]string `json:"environment,omitempty" yaml:"environment,omitempty"`
	Paths       []PathMutation    `json:"paths,omitempty" yaml:"paths,omitempty"`
	VCSUrl      string            `json:"vcs-url,omitempty" yaml:"vcs-url,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty" yaml:"annotations,omitempty"`
	// Include is kept and not followed, as in melange.
	Include      string        `json:"include,omitempty" yaml:"include,omitempty"`
	Volumes      []string      `json:"volumes,omitempty" yaml:"volumes,omitempty"`
	Layering     *Layering     `json:"layering,omitempty" yaml:"layering,omitempty"`
	Certificates *Certificates `json:"certificates,omitempty" yaml:"certificates,omitempty"`

	at `json:"-" yaml:"-"`
}

// Contents are the packages of the sandbox and where they come from.
type Contents struct {
	BuildRepositories       []string     `json:"build_repositories,omitempty" yaml:"build_repositories,omitempty"`
	RuntimeOnlyRepositories []string     `json:"runtime_repositories,omitempty" yaml:"runtime_repositories,omitempty"`
	Repositories            []string     `json:"repositories,omitempty" yaml:"repositories,omitempty"`
	Keyring                 []string     `json:"keyring,omitempty" yaml:"keyring,omitempty"`
	RuntimeKeyring          []NamedBytes `json:"runtime_keyring,omitempty" yaml:"runtime_keyring,omitempty"`
	Packages                []string     `json:"packages,omitempty" yaml:"packages,omitempty"`
	BaseImage               *BaseImage   `json:"baseimage,omitempty" yaml:"baseimage,omitempty"`

	at `json:"-" yaml:"-"`
}

// NamedBytes is a key or certificate in PEM, and the file it goes into.
type NamedBytes struct {
	Name    string `json:"name,omitempty" yaml:"name,omitempty"`
	Content string `json:"content,omitempty" yaml:"content,omitempty"`
}

// BaseImage is an OCI layout that the sandbox begins with.
type BaseImage struct {
	Image    string `json:"image,omitempty" yaml:"image,omitempty"`
	APKIndex string `json:"apkindex,omitempty" yaml:"apkindex,omitempty"`
}

// Entrypoint is what the sandbox would run as an image.
type Entrypoint struct {
	Type          string            `json:"type,omitempty" yaml:"type,omitempty"`
	Command       string            `json:"command,omitempty" yaml:"command,omitempty"`
	ShellFragment string            `json:"shell-fragment,omitempty" yaml:"shell-fragment,omitempty"`
	Services      map[string]string `json:"services,omitempty" yaml:"services,omitempty"`
}

// Accounts are the users and groups of the sandbox.
type Accounts struct {
	// RunAs is the user of every step; empty is the runner's choice.
	RunAs  string  `json:"run-as,omitempty" yaml:"run-as,omitempty"`
	Users  []User  `json:"users,omitempty" yaml:"users,omitempty"`
	Groups []Group `json:"groups,omitempty" yaml:"groups,omitempty"`
}

// User is a line of /etc/passwd.
type User struct {
	UserName string  `json:"username,omitempty" yaml:"username,omitempty"`
	UID      uint32  `json:"uid,omitempty" yaml:"uid,omitempty"`
	GID      *uint32 `json:"gid,omitempty" yaml:"gid,omitempty"`
	Shell    string  `json:"shell,omitempty" yaml:"shell,omitempty"`
	HomeDir  string  `json:"homedir,omitempty" yaml:"homedir,omitempty"`
}

// Group is a line of /etc/group.
type Group struct {
	GroupName string   `json:"groupname,omitempty" yaml:"groupname,omitempty"`
	GID       uint32   `json:"gid,omitempty" yaml:"gid,omitempty"`
	Members   []string `json:"members,omitempty" yaml:"members,omitempty"`
}

// PathMutation changes a path of the sandbox after packages are installed.
type PathMutation struct {
	Path        string  `json:"path,omitempty" yaml:"path,omitempty"`
	Type        string  `json:"type,omitempty" yaml:"type,omitempty"`
	UID         *uint32 `json:"uid,omitempty" yaml:"uid,omitempty"`
	GID         *uint32 `json:"gid,omitempty" yaml:"gid,omitempty"`
	Permissions uint32  `json:"permissions,omitempty" yaml:"permissions,omitempty"`
	Source      string  `json:"source,omitempty" yaml:"source,omitempty"`
	Recursive   bool    `json:"recursive,omitempty" yaml:"recursive,omitempty"`
}

// Layering says how an image of the sandbox would be split.
type Layering struct {
	Strategy string `json:"strategy,omitempty" yaml:"strategy,omitempty"`
	Budget   int    `json:"budget,omitempty" yaml:"budget,omitempty"`
}

// Certificates are trusted in the sandbox.
type Certificates struct {
	Additional []NamedBytes `json:"additional,omitempty" yaml:"additional,omitempty"`
	Providers  []string     `json:"providers,omitempty" yaml:"providers,omitempty"`
}

const (
	buildUser = "build"
	buildID   = 1000
)

// addBuildUser gives the sandbox the account that builds run as.
func (e *Environment) addBuildUser() {
	hasGroup, hasUser := false, false
	for _, g := range e.Accounts.Groups {
		hasGroup = hasGroup || g.GroupName == buildUser
	}
	for _, u := range e.Accounts.Users {
		hasUser = hasUser || u.UserName == buildUser
	}
	if !hasGroup {
		e.Accounts.Groups = append(e.Accounts.Groups, Group{GroupName: buildUser, GID: buildID, Members: []string{buildUser}})
	}
	if !hasUser {
		gid := uint32(buildID)
		e.Accounts.Users = append(e.Accounts.Users, User{UserName: buildUser, UID: buildID, GID: &gid})
	}
}

// variables are set in every sandbox that does not set them itself.
var variables = [][2]string{
	{"HOME", "/home/build"},
	{"GOPATH", "/home/build/.cache/go"},
	{"GOMODCACHE", "/var/cache/melange/gomodcache"},
	{"UV_CACHE_DIR", "/var/cache/melange/uv"},
	{"PIP_CACHE_DIR", "/var/cache/melange/pip"},
	{"COMPOSER_CACHE_DIR", "/var/cache/melange/composer"},
	{"npm_config_cache", "/var/cache/melange/npm"},
}

// setVariables adds preset, below what is written, and then the defaults.
func (e *Environment) setVariables(preset map[string]string) {
	out := map[string]string{}
	for k, v := range preset {
		out[k] = v
	}
	for k, v := range e.Environment {
		out[k] = v
	}
	for _, v := range variables {
		if out[v[0]] == "" {
			out[v[0]] = v[1]
		}
	}
	e.Environment = out
}
