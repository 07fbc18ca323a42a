package config

import (
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// parsePackage reads one entry of contents.packages; detail says what is wrong.
func parsePackage(v string) (d apk.Dependency, detail string) {
	switch {
	case v == "":
		return d, "found nothing, expected a package name"
	case !visible(v):
		return d, "found white space in " + strconv.Quote(shorten(v)) + ", expected one package such as \"openssl>=3.1\""
	}
	d, err := apk.ParseDependency(v)
	if err != nil {
		return d, "found " + strings.TrimPrefix(err.Error(), "dependency ")
	}
	return d, ""
}
