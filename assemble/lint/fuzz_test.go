package lint

import (
	"testing"

	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
)

// FuzzImage: whatever files say, every rule ends, and what is found can be
// silenced by its rule.
func FuzzImage(f *testing.F) {
	f.Add("Requires-Python: >=3.12\n", "Tag: cp312-cp312-any\n", "/lib:/opt\n", "\x7fELF\x02\x01\x01")
	f.Add("Requires-Python: ~=3.9.1, !=3.*, <<\n", "Tag: cp-x-y\nTag: cp3-cp3-z", "glibc-ld.so.cache1.1", object{interp: "/x", needed: []string{"a", "/b", "$ORIGIN"}, runpath: []string{"${ORIGIN}/..", ":"}}.bytes())
	f.Fuzz(func(t *testing.T, metadata, wheel, conf, program string) {
		if len(metadata)+len(wheel)+len(conf)+len(program) > 1<<14 {
			return
		}
		layer := subjecttest.Layer{Members: []string{
			file("usr/bin/python3.11", "0755", "python"), file("usr/lib/python3.11/site-packages/a-1.dist-info/METADATA", "0644", metadata), file("usr/lib/python3.11/site-packages/a-1.dist-info/WHEEL", "0644", wheel),
			file("lib/ld-musl-x86_64.so.1", "0755", program), file("etc/ld-musl-x86_64.path", "0644", conf), file("etc/ld.so.cache", "0644", conf), file("usr/bin/a", "0755", program),
		}}
		r := look(t, quiet(), Input{NoShell: true}, Options{}, layer)
		var all []string
		for _, x := range r.Findings {
			all = append(all, x.Rule)
		}
		if again := look(t, quiet(), Input{NoShell: true}, Options{Ignore: all}, layer); len(again.Findings) > 0 || len(again.Ignored) != len(r.Findings) {
			t.Errorf("left: %v", again.Findings)
		}
	})
}
