package definition

import (
	"path"
	"regexp"
)

// StepPath is PATH for every step.
const StepPath = "/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin"

// Dir returns the directory that a compiled step runs in, an absolute path of
// the sandbox. It is made when it is not there.
func (p *Pipeline) Dir() string {
	if path.IsAbs(p.WorkDir) {
		return p.WorkDir
	}
	return path.Join(WorkDir, p.WorkDir)
}

// Script returns what /bin/sh -c runs for a compiled step's own text; trace
// makes the shell print what it does. The step's own first line is line 4, as
// in melange. The shell must know "set -o pipefail", as busybox and bash do.
func (p *Pipeline) Script(trace bool) string {
	flags := "-e"
	if trace {
		flags = "-ex"
	}
	dir := shellWord(p.Dir())
	return "set " + flags + "o pipefail\n[ -d " + dir + " ] || mkdir -p " + dir + "\ncd " + dir + "\n" + p.Runs + "\nexit 0"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// shellWord quotes what needs it.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return quoteShell(s)
}
