package definition

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// checkShape checks what does not depend on variables.
func (d *Definition) checkShape(r *report) {
	if d.node == nil {
		return // not even a mapping
	}
	if isNull(d.value("package")) {
		r.add(d.problem("missing", "expected a mapping with name and version", "", "package"))
	}
	checkPipelines(r, r.add, d.Pipeline)
	if d.Test != nil {
		checkPipelines(r, r.warn, d.Test.Pipeline)
	}
	for i := range d.Subpackages {
		s := &d.Subpackages[i]
		checkPipelines(r, r.add, s.Pipeline)
		checkSetCap(r, s.SetCap)
		if s.Test != nil {
			checkPipelines(r, r.warn, s.Test.Pipeline)
		}
	}
	checkSetCap(r, d.Package.SetCap)
	checkCPE(r, d.Package.CPE)
}

// check checks what is there once variables are substituted.
func (d *Definition) check(r *report) {
	p := &d.Package
	if !isNull(d.value("package")) {
		checkName(r, p.at, p.Name)
		checkVersion(r, p)
	}
	checkPriorities(r, p.Dependencies, p.at)
	d.checkSubpackages(r)
}

var packageName = regexp.MustCompile(`^[a-zA-Z\d][a-zA-Z\d+_.-]*$`)

func checkName(r *report, where at, name string) {
	const expected = "expected letters, digits, \"+\", \"_\", \".\" and \"-\", beginning with a letter or digit"
	switch {
	case packageName.MatchString(name):
	case where.value("name") == nil:
		r.add(where.problem("missing", expected, "", "name"))
	default:
		r.add(where.problem("impossible name", fmt.Sprintf("found %q, ", shorten(name))+expected, "", "name"))
	}
}

func checkVersion(r *report, p *Package) {
	switch {
	case p.Version == "" && p.value("version") == nil:
		r.add(p.problem("missing", "expected a version", "", "version"))
	case p.Version == "":
		r.add(p.problem("empty", "expected a version", "", "version"))
	default:
		if !apk.ValidVersion(p.FullVersion()) {
			r.warn(p.problem("no version of apk", fmt.Sprintf("found %q, which no package can have", shorten(p.Version)), "", "version"))
		}
	}
}

func checkPriorities(r *report, deps Dependencies, where at) {
	for key, value := range map[string]string{"provider-priority": deps.ProviderPriority, "replaces-priority": deps.ReplacesPriority} {
		if _, err := strconv.Atoi(value); value != "" && err != nil {
			r.add(where.problem("not a number", fmt.Sprintf("found %q, expected a whole number", shorten(value)), "", "dependencies", key))
		}
	}
}

func (d *Definition) checkSubpackages(r *report) {
	seen := map[string]*Subpackage{}
	for i := range d.Subpackages {
		s := &d.Subpackages[i]
		checkName(r, s.at, s.Name)
		checkPriorities(r, s.Dependencies, s.at)
		switch first := seen[s.Name]; {
		case s.Name == d.Package.Name:
			r.add(s.problem("duplicate name", fmt.Sprintf("%q is the main package's", s.Name), "", "name"))
		case first != nil && first.index == s.index:
			r.add(s.problem("duplicate name", fmt.Sprintf("%q is made twice by this range", s.Name), "use ${{range.key}} in the name", "name"))
		case first != nil:
			r.add(s.problem("duplicate name", fmt.Sprintf("%q is that of subpackages[%d] too", s.Name, first.index), "", "name"))
		}
		if seen[s.Name] == nil {
			seen[s.Name] = s
		}
	}
}

// checkPipelines reports steps that contradict themselves to add. The steps of
// tests and of reusable pipelines are not checked by melange, which then takes
// what it can use; there, add is for warnings.
func checkPipelines(r *report, add func(Problem), list []Pipeline) {
	for i := range list {
		p := &list[i]
		switch {
		case p.Uses != "" && p.Runs != "":
			add(p.problem("uses and runs", "expected one of them", "make two steps of it", "runs"))
		case p.Uses == "" && len(p.With) > 0 && p.Runs != "":
			add(p.problem("with and runs", "with belongs to uses", "", "with"))
		case p.Uses == "" && len(p.With) > 0:
			add(p.problem("with without uses", "expected the name of a reusable pipeline in uses", "", "with"))
		case p.Uses != "" && len(p.Pipeline) > 0:
			r.warn(p.problem("uses and pipeline", fmt.Sprintf("%q is not looked at: the steps are taken for what it was compiled to", p.Uses), "", "uses"))
		}
		checkPipelines(r, add, p.Pipeline)
	}
}

// fileCapabilities are those that melange knows, with their bits.
var fileCapabilities = map[string]uint{
	"cap_net_bind_service": 10, "cap_net_admin": 12, "cap_net_raw": 13, "cap_ipc_lock": 14, "cap_sys_admin": 21,
}

func checkSetCap(r *report, list []SetCap) {
	known := slices.Sorted(maps.Keys(fileCapabilities))
	for _, c := range list {
		for _, names := range slices.Sorted(maps.Keys(c.Add)) {
			for name := range strings.SplitSeq(names, ",") {
				if _, ok := fileCapabilities[name]; !ok {
					r.add(c.problem("unknown capability", fmt.Sprintf("found %q, expected %s", shorten(name), strings.Join(known, ", ")),
						didYouMean(name, known), "add", names))
				}
			}
		}
		if c.Reason == "" {
			r.add(c.problem("missing", "expected why the file needs capabilities", "", "reason"))
		}
	}
}

var cpeField = regexp.MustCompile(`^[a-z\d][a-z\d+_.-]*$`)

func checkCPE(r *report, c CPE) {
	if c.Part != "" && c.Part != "a" && c.Part != "o" {
		r.add(c.problem("impossible value", fmt.Sprintf("found %q, expected a (application) or o (operating system)", shorten(c.Part)), "", "part"))
	}
	switch {
	case c.Vendor != "" && c.Product == "":
		r.add(c.problem("missing", "expected a product beside the vendor", "", "product"))
	case c.Vendor == "" && c.Product != "":
		r.add(c.problem("missing", "expected a vendor beside the product", "", "vendor"))
	}
	for _, f := range [][2]string{
		{"vendor", c.Vendor}, {"product", c.Product}, {"edition", c.Edition}, {"language", c.Language},
		{"sw_edition", c.SWEdition}, {"target_sw", c.TargetSW}, {"target_hw", c.TargetHW}, {"other", c.Other},
	} {
		if f[1] != "" && !cpeField.MatchString(f[1]) {
			r.add(c.problem("impossible value", fmt.Sprintf("found %q, expected lower-case letters, digits, \"+\", \"_\", \".\" and \"-\"", shorten(f[1])), "", f[0]))
		}
	}
}
