package definition

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// digests are the inputs whose name promises a number of hexadecimal digits.
var digests = map[string]int{"expected-sha256": 64, "expected-sha512": 128, "expected-commit": 40}

// inputs checks what a step is given against what the pipeline declares and
// fills in defaults. An empty input counts as not given.
func (c *compiler) inputs(step *at, with map[string]string, declared map[string]Input, uses string) map[string]string {
	if len(declared) == 0 {
		return with
	}
	out := make(map[string]string, len(declared))
	maps.Copy(out, with)
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		in := declared[name]
		if out[name] == "" {
			out[name] = in.Default
		}
		value := out[name]
		if digits, ok := digests[name]; ok && value != "" && !isHex(value, digits) {
			c.add(step.problem("impossible value", fmt.Sprintf("found %q, expected %d hexadecimal digits", shorten(value), digits), "", "with", name))
		}
		if in.Required && value == "" {
			c.add(step.problem("missing", fmt.Sprintf("%s needs a value for %s", pipelineWord(uses), name), firstLine(in.Description), "with", name))
		}
	}
	return out
}

// unknownInputs reports inputs that a reusable pipeline does not declare.
func (c *compiler) unknownInputs(step *at, with map[string]string, declared map[string]Input, uses string) {
	for _, name := range slices.Sorted(maps.Keys(with)) {
		if _, ok := declared[name]; ok {
			continue
		}
		names := slices.Sorted(maps.Keys(declared))
		detail := "takes none"
		if len(names) > 0 {
			detail = "takes " + strings.Join(names, ", ")
		}
		c.add(step.problem("unknown input", pipelineWord(uses)+" "+detail, didYouMean(name, names), "with", name))
	}
}

func pipelineWord(uses string) string {
	if uses == "" {
		return "the step"
	}
	return "pipeline " + uses
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// given returns the inputs that are worth recording: those that differ from
// their default's text.
func given(with map[string]string, declared map[string]Input, s scope) map[string]string {
	out := map[string]string{}
	for name := range with {
		value := s.inputs["inputs."+name]
		if value != declared[name].Default {
			out[name] = value
		}
	}
	return out
}
