package condition

import (
	"errors"
	"strings"
	"testing"
)

// values is a lookup of a few variables.
func values(name string) (string, error) {
	v, ok := map[string]string{
		"build.arch": "x86_64", "empty": "", "a-b_c.D1": "odd", "quote": "it's", "nested": "${{build.arch}}",
	}[name]
	if !ok {
		return "", Undefined(name)
	}
	return v, nil
}

func TestEvaluate(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bool
	}{
		{`'a' == 'a'`, true},
		{`"a" == 'a'`, true},
		{`'a' != 'a'`, false},
		{`'a'=='b'`, false},
		{`'a'!='b'`, true},
		{"\t'a'\n==\r'a' ", true},
		{`${{build.arch}} == 'x86_64'`, true},
		{`${{ build.arch }} != "x86_64"`, false},
		{`'x86_64' == ${{build.arch}}`, true},
		{`${{empty}} == ''`, true},
		{`${{a-b_c.D1}} == 'odd'`, true},
		{`('a' == 'a')`, true},
		{`(('a' == 'a') && 'b' == 'b')`, true},
		// The two operators bind equally, from the left.
		{`'a' == 'a' || 'a' == 'a' && 'a' == 'b'`, false},
		{`'a' == 'a' || ('a' == 'a' && 'a' == 'b')`, true},
		{`'a' == 'b' && 'a' == 'b' || 'a' == 'a'`, true},
		{`'a' == 'a'&&'b' == 'b'||'c' == 'd'`, true},
		// Escapes.
		{`'it\'s' == ${{quote}}`, true},
		{`"it's" == 'it\'s'`, true},
		{`'a\\b' == "a\\b"`, true},
		{`'a\nb' == 'a` + "\n" + `b'`, true},
		{`'a\tb' == "a	b"`, true},
		{`'a\xb' == 'a\\xb'`, true},
		// Values are not looked at again.
		{`${{nested}} == '${{build.arch}}'`, true},
		{`'==' == '=='`, true},
		{`'&&' != '||'`, true},
	} {
		got, err := Evaluate(tt.text, values)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v, %v; expected %v", tt.text, got, err, tt.want)
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{``, `found the end at character 1, expected a text in quotes or a variable`},
		{` `, `found the end at character 2, expected a text in quotes or a variable`},
		{`a`, `found "a" at character 1, expected a text in quotes or a variable`},
		{`true`, `found "true" at character 1, expected a text in quotes or a variable`},
		{`'a'`, `found the end at character 4, expected "==" or "!="`},
		{`${{build.arch}}`, `found the end at character 16, expected "==" or "!="`},
		{`'a' =`, `found "=" at character 5, expected "==" or "!="`},
		{`'a' = 'a'`, `found "= 'a'" at character 5, expected "==" or "!="`},
		{`'a' < 'b'`, `found "< 'b'" at character 5, expected "==" or "!="`},
		{`'a' ==`, `found the end at character 7, expected a text in quotes or a variable`},
		{`'a' === 'a'`, `found "= 'a'" at character 7, expected a text in quotes or a variable`},
		{`'a' == a`, `found "a" at character 8, expected a text in quotes or a variable`},
		{`'a' == 'a`, `found a text that does not end at character 8, expected a closing '`},
		{`"a`, `found a text that does not end at character 1, expected a closing "`},
		{`'a\`, `found a text that does not end at character 1, expected a closing '`},
		{`'a' == 'a' &`, `found "&" at character 12, expected "&&", "||" or the end`},
		{`'a' == 'a' &&`, `found the end at character 14, expected a text in quotes or a variable`},
		{`'a' == 'a' && ||`, `found "||" at character 15, expected a text in quotes or a variable`},
		{`'a' == 'a' 'b'`, `found "'b'" at character 12, expected "&&", "||" or the end`},
		{`'a' == 'a' == 'a'`, `found "== 'a'" at character 12, expected "&&", "||" or the end`},
		{`!('a' == 'a')`, `found "!('a' == 'a')" at character 1, expected a text in quotes or a variable`},
		{`('a' == 'a'`, `found the end at character 12, expected ")", "&&" or "||"`},
		{`('a' == 'a'))`, `found ")" at character 13, expected "&&", "||" or the end`},
		{`('a') == 'a'`, `found ") == 'a'" at character 5, expected "==" or "!="`},
		{`()`, `found ")" at character 2, expected a text in quotes or a variable`},
		{`${{`, `found the end at character 4, expected the name of a variable after "${{"`},
		{`${{}} == 'a'`, `found "}} == 'a'" at character 4, expected the name of a variable after "${{"`},
		{`${{a b}} == 'a'`, `found "b}} == 'a'" at character 6, expected "}}" after "${{a"`},
		{`${{build.arch} == 'a'`, `found "} == 'a'" at character 14, expected "}}" after "${{build.arch"`},
		{`$build == 'a'`, `found "$build == 'a'" at character 1, expected a text in quotes or a variable`},
		{`${{missing}} == 'a'`, `undefined variable: missing`},
		// Both sides are evaluated, whatever the first one says.
		{`'a' == 'a' || ${{missing}} == 'a'`, `undefined variable: missing`},
		{`'a' == 'b' && ${{missing}} == 'a'`, `undefined variable: missing`},
		{strings.Repeat("(", 1001) + `'a' == 'a'` + strings.Repeat(")", 1001), `found one more parenthesis at character 1002, expected at most 1000`},
	} {
		_, err := Evaluate(tt.text, values)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\n have %v\n want %s", tt.text, err, tt.want)
		}
	}
}

func TestSubstitute(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"plain $x ${x} {{x}}", "plain $x ${x} {{x}}"},
		{"${{build.arch}}", "x86_64"},
		{"a ${{build.arch}} b ${{empty}}c", "a x86_64 b c"},
		{"${{ build.arch\t}}", "x86_64"},
		{"${{\nbuild.arch\n}}", "x86_64"},
		{"$${{build.arch}}}", "$x86_64}"},
		{"${{nested}}", "${{build.arch}}"}, // once
		{"${{build.arch}}${{quote}}", "x86_64it's"},
	} {
		got, err := Substitute(tt.text, values)
		if err != nil || got != tt.want {
			t.Errorf("%q: %q, %v; expected %q", tt.text, got, err, tt.want)
		}
	}
}

func TestSubstituteRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"${{x}}", "undefined variable: x"},
		{"${{x}} ${{build.arch}} ${{y}}", "undefined variable: x\nundefined variable: y"},
		{"${{", `found the end at character 4, expected the name of a variable after "${{"`},
		{"a ${{}}", `found "}}" at character 6, expected the name of a variable after "${{"`},
		{"${{ == }}", `found "== }}" at character 5, expected the name of a variable after "${{"`},
		{"${{x", `found the end at character 5, expected "}}" after "${{x"`},
		{"${{build.arch == 'a'}}", `found "== 'a'}}" at character 15, expected "}}" after "${{build.arch"`},
		{"${{a ${{build.arch}}", `found "${{build.arch}}" at character 6, expected "}}" after "${{a"`},
		{"${{} ${{x}}", `found "} ${{x}}" at character 4, expected the name of a variable after "${{"` + "\nundefined variable: x"},
	} {
		got, err := Substitute(tt.text, values)
		if err == nil || err.Error() != tt.want || got != "" {
			t.Errorf("%q:\n have %v\n want %s", tt.text, err, tt.want)
		}
	}
}

func TestUndefinedIsRecognized(t *testing.T) {
	_, err := Evaluate("${{x}} == 'a'", values)
	if !errors.Is(err, ErrUndefined) {
		t.Error(err)
	}
	var syntax *SyntaxError
	if _, err = Evaluate("'a'", values); !errors.As(err, &syntax) || syntax.Offset != 3 {
		t.Error(err)
	}
}

// Whatever the text, evaluation ends without a panic, and says the same twice.
func FuzzEvaluate(f *testing.F) {
	for _, s := range []string{`'a' == "b" && (${{x}} != '\'')`, `${{ build.arch }} == 'x86_64' || 'a' == 'a'`, `((`, `'`, "${{", `"\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lookup := func(name string) (string, error) { return name, nil }
		a, errA := Evaluate(text, lookup)
		b, errB := Evaluate(text, lookup)
		if a != b || (errA == nil) != (errB == nil) {
			t.Errorf("%q: %v %v, then %v %v", text, a, errA, b, errB)
		}
		if errA == nil && text == "" {
			t.Error("the empty text is no condition")
		}
	})
}

// A text without references stays; with a lookup that gives the reference back,
// so does one with references, white space inside them apart.
func FuzzSubstitute(f *testing.F) {
	for _, s := range []string{"a ${{b}} c", "${{", "${{ }}", "${{a}}${{b}}", "$${{a}}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := Substitute(text, func(name string) (string, error) { return "${{" + name + "}}", nil })
		if err != nil {
			if out != "" {
				t.Errorf("%q: %q beside %v", text, out, err)
			}
			return
		}
		again, err := Substitute(out, func(name string) (string, error) { return "${{" + name + "}}", nil })
		if err != nil || again != out {
			t.Errorf("%q: %q, then %q, %v", text, out, again, err)
		}
		if !strings.Contains(text, "${{") && out != text {
			t.Errorf("%q became %q", text, out)
		}
	})
}
