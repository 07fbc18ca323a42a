package imagetest

import "github.com/cairn-dev/cairn/packages/strictyaml"

// The structs below are the language; yaml tags are its keys.

// File is a test file.
type File struct {
	// Name is the file as it was given.
	Name string `yaml:"-"`

	SchemaVersion  string             `yaml:"schemaVersion" required:"1" enum:"2.0.0,1.0.0"`
	GlobalEnv      []Env              `yaml:"globalEnvVars"`
	Commands       []CommandTest      `yaml:"commandTests"`
	FileExistence  []ExistenceTest    `yaml:"fileExistenceTests"`
	FileContent    []ContentTest      `yaml:"fileContentTests"`
	Metadata       *MetadataTest      `yaml:"metadataTest"`
	Licenses       []LicenseTest      `yaml:"licenseTests"`
	RunOptions     *RunOptions        `yaml:"containerRunOptions"`
	Cairn          *Own               `yaml:"cairn"`
	report         *strictyaml.Report // where each value stands
	patterns       map[string]pattern
	dirs           []string // relative paths are from here
	envFileContent []byte
}

// Env is an environment variable, or a label.
type Env struct {
	Key     string `yaml:"key" required:"1"`
	Value   string `yaml:"value"`
	IsRegex bool   `yaml:"isRegex"`
}

// CommandTest runs a command in a fresh container.
type CommandTest struct {
	Name           string     `yaml:"name" required:"1"`
	Setup          [][]string `yaml:"setup"`
	Teardown       [][]string `yaml:"teardown"`
	Env            []Env      `yaml:"envVars"`
	ExitCode       int        `yaml:"exitCode"`
	Command        string     `yaml:"command" required:"1"`
	Args           []string   `yaml:"args"`
	ExpectedOutput []string   `yaml:"expectedOutput"`
	ExcludedOutput []string   `yaml:"excludedOutput"`
	ExpectedError  []string   `yaml:"expectedError"`
	ExcludedError  []string   `yaml:"excludedError"`
}

// ExistenceTest is about a path.
type ExistenceTest struct {
	Name           string `yaml:"name" required:"1"`
	Path           string `yaml:"path" required:"1"`
	ShouldExist    *bool  `yaml:"shouldExist"` // true where it is not given
	Permissions    string `yaml:"permissions"` // as Go's fs.FileMode prints them
	UID            *int   `yaml:"uid"`
	GID            *int   `yaml:"gid"`
	IsExecutableBy string `yaml:"isExecutableBy" enum:"owner,group,other,any"`
}

// ContentTest is about what a file contains.
type ContentTest struct {
	Name     string   `yaml:"name" required:"1"`
	Path     string   `yaml:"path" required:"1"`
	Expected []string `yaml:"expectedContents"`
	Excluded []string `yaml:"excludedContents"`
}

// MetadataTest is about the image's configuration.
type MetadataTest struct {
	Env              []Env     `yaml:"envVars"`
	OldEnv           []Env     `yaml:"env"` // its name before
	UnboundEnv       []Env     `yaml:"unboundEnvVars"`
	Labels           []Env     `yaml:"labels"`
	Entrypoint       *[]string `yaml:"entrypoint"`
	Cmd              *[]string `yaml:"cmd"`
	ExposedPorts     []string  `yaml:"exposedPorts"`
	UnexposedPorts   []string  `yaml:"unexposedPorts"`
	Volumes          []string  `yaml:"volumes"`
	UnmountedVolumes []string  `yaml:"unmountedVolumes"`
	Workdir          string    `yaml:"workdir"`
	User             string    `yaml:"user"`
}

// LicenseTest refuses files of licences that name some.
type LicenseTest struct {
	Debian bool     `yaml:"debian"`
	Files  []string `yaml:"files"`
}

// RunOptions are for commands in a container engine.
type RunOptions struct {
	User         string   `yaml:"user"`
	Privileged   bool     `yaml:"privileged"`
	AllocateTTY  bool     `yaml:"allocateTty"`
	EnvFile      string   `yaml:"envFile"`
	Env          []string `yaml:"envVars"`
	Capabilities []string `yaml:"capabilities"`
	BindMounts   []string `yaml:"bindMounts"`
}

// Own are cairn's tests.
type Own struct {
	NoShell         bool      `yaml:"noShell"`
	NoSetuid        bool      `yaml:"noSetuid"`
	NoWorldWritable bool      `yaml:"noWorldWritable"`
	User            string    `yaml:"user"`      // as the configuration has it
	MaxSize         string    `yaml:"maxSize"`   // of the compressed layers, as in 20MB
	MaxLayers       *int      `yaml:"maxLayers"` // at least 1
	Packages        *Packages `yaml:"packages"`
	// Reproducible asks that nothing in the image is of the time and machine of
	// its build.
	Reproducible bool `yaml:"reproducible"`
	size         int64
}

// Packages are those that must be there, as apk spells requests, and must not.
type Packages struct {
	Present []string `yaml:"present"`
	Absent  []string `yaml:"absent"`
}

// commandTest1 is a command of schemaVersion 1.0.0.
type commandTest1 struct {
	Name           string     `yaml:"name" required:"1"`
	Setup          [][]string `yaml:"setup"`
	Teardown       [][]string `yaml:"teardown"`
	Env            []Env      `yaml:"envVars"`
	ExitCode       int        `yaml:"exitCode"`
	Command        []string   `yaml:"command" required:"1"`
	ExpectedOutput []string   `yaml:"expectedOutput"`
	ExcludedOutput []string   `yaml:"excludedOutput"`
	ExpectedError  []string   `yaml:"expectedError"`
	ExcludedError  []string   `yaml:"excludedError"`
}

// file1 is a test file of schemaVersion 1.0.0.
type file1 struct {
	SchemaVersion string          `yaml:"schemaVersion" required:"1" enum:"2.0.0,1.0.0"`
	GlobalEnv     []Env           `yaml:"globalEnvVars"`
	Commands      []commandTest1  `yaml:"commandTests"`
	FileExistence []ExistenceTest `yaml:"fileExistenceTests"`
	FileContent   []ContentTest   `yaml:"fileContentTests"`
	Licenses      []LicenseTest   `yaml:"licenseTests"`
	Cairn         *Own            `yaml:"cairn"`
}
