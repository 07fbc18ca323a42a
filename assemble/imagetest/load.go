package imagetest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/strictyaml"
)

// maxFile bounds a test file, in bytes.
const maxFile = 1 << 20

// Problem is one thing that is wrong with a test file, Errors every such thing in
// the order of their positions.
type (
	Problem = strictyaml.Problem
	Errors  = strictyaml.Errors
)

// pattern is a regular expression of a test file.
type pattern = *regexp.Regexp

// Load reads and checks a test file. The files that it names are looked for
// beside it, and then in more directories. The error is *[Errors] when the file
// is at fault.
func Load(path string, more ...string) (*File, error) {
	text, err := readLimited(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text, append([]string{filepath.Dir(path)}, more...)...)
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // was only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, strictyaml.TooLarge(path, "test file", maxFile)
	}
	return text, nil
}

// Parse checks a test file; dirs are where the files that it names are looked for.
func Parse(name string, text []byte, dirs ...string) (*File, error) {
	r := strictyaml.New(name, "test file")
	f := &File{}
	if root := r.Document(text, "schemaVersion"); root != nil {
		o := strictyaml.Options{AnyText: true, Hint: advice}
		if schemaVersion(root) == "1.0.0" {
			var old file1
			r.Decode(root, &old, o)
			f = old.file()
		} else {
			r.Decode(root, f, o)
		}
		f.Name, f.report, f.patterns, f.dirs = name, r, map[string]pattern{}, dirs
		checker{r, f}.all()
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// advice is for those who come from the older schema.
func advice(key string, found *yaml.Node) string {
	if strings.HasSuffix(key, ".command") && found.Kind == yaml.SequenceNode {
		return "in schemaVersion 2.0.0 command is the program and args are its arguments"
	}
	return ""
}

// schemaVersion looks a version up before it is known what it means.
func schemaVersion(root *yaml.Node) string {
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "schemaVersion" {
			return root.Content[i+1].Value
		}
	}
	return ""
}

// file spells the older schema in the newer one.
func (o *file1) file() *File {
	f := &File{SchemaVersion: o.SchemaVersion, GlobalEnv: o.GlobalEnv, FileExistence: o.FileExistence,
		FileContent: o.FileContent, Licenses: o.Licenses, Cairn: o.Cairn}
	for _, c := range o.Commands {
		t := CommandTest{Name: c.Name, Setup: c.Setup, Teardown: c.Teardown, Env: c.Env, ExitCode: c.ExitCode, ExpectedOutput: c.ExpectedOutput,
			ExcludedOutput: c.ExcludedOutput, ExpectedError: c.ExpectedError, ExcludedError: c.ExcludedError}
		if len(c.Command) > 0 {
			t.Command, t.Args = c.Command[0], c.Command[1:]
		}
		f.Commands = append(f.Commands, t)
	}
	return f
}

// checker finds what is of the right type and still cannot be meant.
type checker struct {
	*strictyaml.Report
	f *File
}

func (c checker) all() {
	for i := range c.f.Commands {
		c.command(fmt.Sprintf("commandTests[%d]", i), &c.f.Commands[i])
	}
	for i := range c.f.FileExistence {
		c.existence(fmt.Sprintf("fileExistenceTests[%d]", i), &c.f.FileExistence[i])
	}
	for i := range c.f.FileContent {
		c.content(fmt.Sprintf("fileContentTests[%d]", i), &c.f.FileContent[i])
	}
	c.environment("globalEnvVars", c.f.GlobalEnv)
	if m := c.f.Metadata; m != nil {
		c.metadata(m)
	}
	for i, l := range c.f.Licenses {
		if key := fmt.Sprintf("licenseTests[%d]", i); !l.Debian && len(l.Files) == 0 {
			c.Bad(key, "asks for nothing", "expected debian: true or files", "")
		}
	}
	if o := c.f.RunOptions; o != nil {
		c.runOptions(o)
	}
	if o := c.f.Cairn; o != nil {
		c.own(o)
	}
}

// given refuses an empty text where the key is there.
func (c checker) given(key, value string) {
	if c.Has(key) && value == "" && !c.Reported(key) {
		c.Bad(key, "empty", "expected text", "")
	}
}

// regexps compiles the expressions of a key.
func (c checker) regexps(key string, list []string) {
	for i, text := range list {
		c.regexp(fmt.Sprintf("%s[%d]", key, i), text)
	}
}

func (c checker) regexp(key, text string) {
	re, err := regexp.Compile(text)
	if err != nil {
		c.Bad(key, "not a regular expression", strings.TrimPrefix(err.Error(), "error parsing regexp: "), "the syntax is that of Go: https://golang.org/s/re2syntax")
		return
	}
	c.f.patterns[key] = re
}

func (c checker) command(key string, t *CommandTest) {
	c.given(key+".name", t.Name)
	c.given(key+".command", t.Command)
	for _, part := range []struct {
		key  string
		list [][]string
	}{{"setup", t.Setup}, {"teardown", t.Teardown}} {
		for i, words := range part.list {
			if len(words) == 0 || words[0] == "" {
				c.Bad(fmt.Sprintf("%s.%s[%d]", key, part.key, i), "empty", "expected a command and its arguments", "")
			}
		}
	}
	c.environment(key+".envVars", t.Env)
	if t.ExitCode < 0 || t.ExitCode > 255 {
		c.Bad(key+".exitCode", "out of range", fmt.Sprintf("found %d, expected 0 to 255", t.ExitCode), "")
	}
	c.regexps(key+".expectedOutput", t.ExpectedOutput)
	c.regexps(key+".excludedOutput", t.ExcludedOutput)
	c.regexps(key+".expectedError", t.ExpectedError)
	c.regexps(key+".excludedError", t.ExcludedError)
}

func (c checker) environment(key string, list []Env) {
	for i, e := range list {
		at := fmt.Sprintf("%s[%d]", key, i)
		if c.given(at+".key", e.Key); strings.ContainsAny(e.Key, "=\x00") {
			c.Bad(at+".key", "not a name", fmt.Sprintf("found %q", e.Key), "")
		}
		if e.IsRegex {
			c.Bad(at+".isRegex", "not possible", "a variable that is set has one value", "")
		}
	}
}

func (c checker) existence(key string, t *ExistenceTest) {
	c.given(key+".name", t.Name)
	c.given(key+".path", t.Path)
	if t.ShouldExist != nil && !*t.ShouldExist && (t.Permissions != "" || t.UID != nil || t.GID != nil || t.IsExecutableBy != "") {
		c.Bad(key, "contradiction", "expected no permissions, uid, gid or isExecutableBy of what should not exist", "")
	}
	if t.Permissions != "" && !permissions.MatchString(t.Permissions) {
		h := "write the type and nine letters, as ls -l does: -rw-r--r-- for a file, drwxr-xr-x for a directory, dtrwxrwxrwx with the sticky bit"
		c.Bad(key+".permissions", "not permissions", fmt.Sprintf("found %q", t.Permissions), h)
	}
}

// permissions is what fs.FileMode prints.
var permissions = regexp.MustCompile(`^[-dLpSDcugt]+([r-][w-][x-]){3}$`)

func (c checker) content(key string, t *ContentTest) {
	c.given(key+".name", t.Name)
	c.given(key+".path", t.Path)
	if len(t.Expected)+len(t.Excluded) == 0 {
		c.Bad(key, "asks for nothing", "expected expectedContents or excludedContents", "")
	}
	c.regexps(key+".expectedContents", t.Expected)
	c.regexps(key+".excludedContents", t.Excluded)
}

func (c checker) metadata(m *MetadataTest) {
	for _, part := range []struct {
		key  string
		list []Env
	}{{"envVars", m.Env}, {"env", m.OldEnv}, {"unboundEnvVars", m.UnboundEnv}, {"labels", m.Labels}} {
		for i, e := range part.list {
			key := fmt.Sprintf("metadataTest.%s[%d]", part.key, i)
			if c.given(key+".key", e.Key); e.IsRegex {
				c.regexp(key+".value", e.Value)
			}
		}
	}
	for key, list := range map[string][]string{"exposedPorts": m.ExposedPorts, "unexposedPorts": m.UnexposedPorts, "volumes": m.Volumes, "unmountedVolumes": m.UnmountedVolumes} {
		for i, v := range list {
			c.given(fmt.Sprintf("metadataTest.%s[%d]", key, i), v)
		}
	}
}

func (c checker) runOptions(o *RunOptions) {
	if o.EnvFile != "" {
		text, err := c.f.open(o.EnvFile)
		if err != nil {
			c.Bad("containerRunOptions.envFile", "cannot be read", err.Error(), "")
		}
		c.f.envFileContent = text
	}
	for i, m := range o.BindMounts {
		if from, to, ok := strings.Cut(m, ":"); !ok || from == "" || !strings.HasPrefix(to, "/") {
			c.Bad(fmt.Sprintf("containerRunOptions.bindMounts[%d]", i), "not a bind mount", fmt.Sprintf("found %q, expected DIR:/PATH", m), "")
		}
	}
}

// open reads a file that the test file names, in the first place that has it. The
// error is that of the first place.
func (f *File) open(name string) ([]byte, error) {
	if filepath.IsAbs(name) || len(f.dirs) == 0 {
		return readLimited(name)
	}
	var first error
	for _, dir := range f.dirs {
		text, err := readLimited(filepath.Join(dir, name))
		if err == nil {
			return text, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (c checker) own(o *Own) {
	var err error
	if o.MaxSize != "" {
		if o.size, err = parseSize(o.MaxSize); err != nil {
			c.Bad("cairn.maxSize", "not a size", err.Error(), "")
		}
	}
	if o.MaxLayers != nil && *o.MaxLayers < 1 {
		c.Bad("cairn.maxLayers", "too small", fmt.Sprintf("found %d, expected 1 or more", *o.MaxLayers), "")
	}
	if p := o.Packages; p != nil {
		for i, text := range p.Present {
			key := fmt.Sprintf("cairn.packages.present[%d]", i)
			switch d, err := apk.ParseDependency(text); {
			case err != nil:
				c.Bad(key, "not a package", err.Error(), "")
			case d.Conflict:
				c.Bad(key, "contradiction", fmt.Sprintf("found %q among those that should be there", text), "write it under absent, without the !")
			}
		}
		for i, text := range p.Absent {
			if _, err := apk.ParseDependency(text); err != nil {
				c.Bad(fmt.Sprintf("cairn.packages.absent[%d]", i), "not a package", err.Error(), "")
			}
		}
	}
}

// parseSize reads a number of bytes with an optional unit: 500kB, 20MB, 1GiB.
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "kKMGiB ")
	factor, ok := map[string]float64{"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[strings.TrimSpace(s[len(number):])]
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || !(f*factor >= 1 && f*factor <= 1<<62) {
		return 0, fmt.Errorf("found %q, expected a size such as 20MB or 64MiB", s)
	}
	return int64(f * factor), nil
}
