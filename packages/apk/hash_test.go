package apk

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseSHA1(t *testing.T) {
	want := SHA1{0xda, 0x39, 0xa3, 0xee, 0x5e, 0x6b, 0x4b, 0x0d, 0x32, 0x55, 0xbf, 0xef, 0x95, 0x60, 0x18, 0x90, 0xaf, 0xd8, 0x07, 0x09}
	for _, s := range []string{"Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=", "X1da39a3ee5e6b4b0d3255bfef95601890afd80709", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"} {
		if got, err := ParseSHA1(s); err != nil || got != want {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	if want.String() != "Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=" || want.Hex() != "da39a3ee5e6b4b0d3255bfef95601890afd80709" || want.IsZero() || !(SHA1{}).IsZero() {
		t.Errorf("%s %s", want, want.Hex())
	}
	for _, s := range []string{"", "Q1", "Q12jmj7l5rSw0yVb/vlWAYkK/YBwk", "Q12jmj7l5rSw0yVb/vlWAYkK/YBwkAA", "Q12jmj7l5rSw0yVb/vlWAYkK/YBw\nk", "Q22jmj7l5rSw0yVb/vlWAYkK/YBwk=",
		"da39a3ee5e6b4b0d3255bfef95601890afd8070", "xa39a3ee5e6b4b0d3255bfef95601890afd80709", "d41d8cd98f00b204e9800998ecf8427e", strings.Repeat("a", 500)} {
		got, err := ParseSHA1(s)
		if err == nil || got != (SHA1{}) || !strings.Contains(err.Error(), `expected "Q1" and 28 base64 characters or 40 hexadecimal digits`) || len(err.Error()) > 180 {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
}

func TestParseSHA256(t *testing.T) {
	hex := strings.Repeat("0f", 32)
	for _, s := range []string{hex, "sha256:" + hex, strings.ToUpper(hex)} {
		got, err := ParseSHA256(s)
		if err != nil || got.Hex() != hex || got.String() != "sha256:"+hex {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "sha256:", hex[1:], hex + "00", "sha512:" + hex, "zz" + hex[2:]} {
		if got, err := ParseSHA256(s); err == nil || !strings.Contains(err.Error(), "expected 64 hexadecimal digits") {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
}

func TestHashesAsText(t *testing.T) {
	type pair struct {
		A SHA1
		B SHA256
	}
	for _, p := range []pair{{}, {SHA1{1}, SHA256{2}}} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back pair
		if err := json.Unmarshal(b, &back); err != nil || back != p {
			t.Errorf("%s: %+v, %v", b, back, err)
		}
	}
	if b, _ := json.Marshal(pair{}); string(b) != `{"A":"","B":""}` {
		t.Errorf("zero digests: %s", b)
	}
	for _, text := range []string{`{"A":"x"}`, `{"B":"sha256:12"}`} {
		if err := json.Unmarshal([]byte(text), new(pair)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}
