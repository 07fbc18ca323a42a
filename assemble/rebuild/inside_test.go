package rebuild

import (
	"errors"
	"strings"
	"testing"
)

func TestDifference(t *testing.T) {
	for _, c := range []struct{ found, expected, want string }{
		{`{"a":1}`, `{"a":2}`, "at a: found 1, expected 2"},
		{`{"a":1}`, `{}`, "at a: found 1, expected nothing"},
		{`{}`, `{"a":{"b":1}}`, `at a: found nothing, expected {"b":1}`},
		{`{"a":[1,2]}`, `{"a":[1]}`, "at a[1]: found 2, expected nothing"},
		{`{"a":[1]}`, `{"a":{}}`, "at a: found [1], expected {}"},
		{`{"a":10000000000000001}`, `{"a":10000000000000002}`, "at a: found 10000000000000001, expected 10000000000000002"},
		{`{"a":1} `, `{"a":1}`, "equal values, spelled differently"},
		{`{"a":"` + strings.Repeat("x", 300) + `"}`, `{}`, `at a: found "` + strings.Repeat("x", 199) + "…, expected nothing"},
		{`{`, `{}`, "not JSON: unexpected EOF"},
		{`{}`, `{`, "not JSON: unexpected EOF"},
	} {
		if got := Difference([]byte(c.found), []byte(c.expected)); got != c.want {
			t.Errorf("%s against %s: %s\nexpected %s", c.found, c.expected, got, c.want)
		}
	}
}

// TestALayerEndsWhereItEnds: a limit that looks like an end would hide the rest.
func TestALayerEndsWhereItEnds(t *testing.T) {
	budget := &Budget{}
	b := budget.reader(strings.NewReader("hello, world")).(*bounded)
	b.left = 5
	if n, err := b.Read(make([]byte, 12)); n != 0 || !errors.Is(err, errInflates) {
		t.Errorf("%d bytes, %v", n, err)
	}
	budget.used = maxInflated
	if n, err := budget.reader(strings.NewReader("x")).Read(make([]byte, 1)); n != 0 || !errors.Is(err, errInflates) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
