"""A page and a health check, served by Flask."""
import os
import signal
import sys

from flask import Flask, jsonify, render_template

app = Flask(__name__)


@app.route("/")
def page():
    return render_template("page.html", user=os.getuid())


@app.route("/health")
def health():
    return jsonify(status="ok")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # process 1 has no default
    app.run(os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))
