// Package imagetest checks an image against what a test file says of it. The
// files are container-structure-test's (schemaVersion 2.0.0 and 1.0.0), with a
// section of cairn's own.
//
// What is asked about files, metadata and packages is answered from the image's
// bytes, in a registry, a layout or an archive, without an engine. Commands need
// a [Runner]; without one they are not run, and the report says so.
//
//	file, err := imagetest.Load("app.test.yaml")
//	if err != nil {
//		return err // *imagetest.Errors with file, line and column of each problem
//	}
//	report, err := imagetest.Run(ctx, s, &s.Images[0], []*imagetest.File{file}, imagetest.Options{})
//	if err != nil {
//		return err
//	}
//	fmt.Println(report.Passed, report.Failed, report.NotRun)
//
// It builds nothing and finds no vulnerabilities. The format is described in
// the README of github.com/GoogleContainerTools/container-structure-test;
// docs/test.md says where cairn reads it differently.
package imagetest
