package sbom

import (
	"strings"
	"testing"
)

func TestLicenseExpression(t *testing.T) {
	for _, test := range []struct{ in, want, refs string }{
		{"MIT", "MIT", ""},
		{" mit ", "MIT", ""},
		{"gpl-2.0-ONLY", "GPL-2.0-only", ""},
		{"MIT AND BSD-3-Clause", "MIT AND BSD-3-Clause", ""},
		{"MIT and BSD-3-Clause or ISC", "MIT AND BSD-3-Clause OR ISC", ""},
		{"(MIT OR Apache-2.0) AND ISC", "(MIT OR Apache-2.0) AND ISC", ""},
		{"GPL-2.0-or-later WITH Classpath-exception-2.0", "GPL-2.0-or-later WITH Classpath-exception-2.0", ""},
		{"GPL-2.0+", "GPL-2.0+", ""},
		{"Apache-1.0+", "Apache-1.0+", ""},
		{"", "", ""},
		{"NOASSERTION", "", ""},
		{"NONE", "", ""},
		{"custom", "LicenseRef-custom", "LicenseRef-custom"},
		{"MIT AND custom", "MIT AND LicenseRef-custom", "LicenseRef-custom"},
		{"LicenseRef-mine", "LicenseRef-mine", "LicenseRef-mine"},
		{"MIT AND And", "MIT AND LicenseRef-And", "LicenseRef-And"},
	} {
		set := licenseSet{}
		got := set.expression(test.in)
		var refs []string
		for _, l := range set.sorted() {
			refs = append(refs, l.ID)
			if l.Text == "" || l.Name == "" {
				t.Errorf("%q: %s has no text", test.in, l.ID)
			}
		}
		if got != test.want || strings.Join(refs, " ") != test.refs {
			t.Errorf("%q: %q with %v, want %q with %s", test.in, got, refs, test.want, test.refs)
		}
	}
}

// What is no expression becomes one LicenseRef as a whole, with the field as
// its text: nothing is guessed.
func TestLicenseThatIsNoExpression(t *testing.T) {
	for _, in := range []string{"MIT BSD GPL2+", "MIT AND", "AND MIT", "(MIT", "MIT)", "()", "MIT WITH no-such-exception-1.0", "as is", "MIT/X11", "MIT, BSD", "MIT OR OR ISC"} {
		set := licenseSet{}
		got := set.expression(in)
		if len(set) != 1 || set[got].Name != in || !strings.Contains(set[got].Text, in) || strings.Trim(got, "-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q: %q with %v, want one LicenseRef for the whole", in, got, set)
		}
	}
}

func TestLicenseReferencesAreTold(t *testing.T) {
	set := licenseSet{}
	a, b := set.reference("my license"), set.reference("my-license")
	if a == b {
		t.Errorf("two names, one identifier %s", a)
	}
	long := set.reference(strings.Repeat("long ", 100))
	if len(long) > 80 {
		t.Errorf("identifier of %d characters", len(long))
	}
	if again := set.reference("my license"); again != a || len(set) != 3 {
		t.Errorf("the same name gives %s, then %s", a, again)
	}
}

func TestLicenseDepth(t *testing.T) {
	deep := strings.Repeat("(", 10000) + "MIT" + strings.Repeat(")", 10000)
	if got := (licenseSet{}).expression(deep); !strings.HasPrefix(got, "LicenseRef-") {
		t.Errorf("10000 parentheses give %.40q", got)
	}
}

func FuzzLicense(f *testing.F) {
	for _, s := range []string{"MIT", "(MIT OR ISC) AND x", "GPL-2.0-only WITH Classpath-exception-2.0", "a b c", "((", "LicenseRef-x+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set := licenseSet{}
		once := set.expression(s)
		if twice := set.expression(once); twice != once {
			t.Errorf("%q gives %q, which gives %q", s, once, twice)
		}
		for _, word := range strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(once)) {
			if strings.HasPrefix(word, "LicenseRef-") {
				if _, ok := set[word]; !ok {
					t.Errorf("%q: %s has no text", s, word)
				}
			}
		}
	})
}
