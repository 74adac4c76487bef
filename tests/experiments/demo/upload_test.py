"""Bad uploads in the browser: each gets a sentence, and the page goes on."""

import urllib.error
import urllib.request

import pytest

from tests.experiments.demo import bad_uploads, browsing
from tests.experiments.demo.browsing import after, open_tab, slider


@pytest.fixture(scope="module")
def panel(browser, demo):
    """The tab Explain of one page, that stays open for all the uploads."""
    with browsing.watched_page(browser, demo.address) as opened:
        yield open_tab(opened, "Explain")


@pytest.mark.parametrize("name", bad_uploads.CASES)
def test_sentence(name, panel):
    make, words, refused = bad_uploads.CASES[name]
    levels = panel.locator("#explain-levels")
    payload = {"name": "upload.png", "mimeType": "image/png", "buffer": make()}
    upload = lambda: browsing.upload(panel, "Upload a picture", payload)
    if refused:
        before = browsing.images(levels)
        upload()
        assert words in browsing.sentence(panel, "alert")
        assert (browsing.images(levels) == before).all()
    else:
        after(levels, upload)
        assert words in browsing.sentence(panel, "status")
    assert "Traceback" not in panel.page.content()
    number = 3 + list(bad_uploads.CASES).index(name)
    after(levels, lambda: slider(panel, "Test image").fill(str(number)))
    assert panel.page.get_by_test_id("toast-body").count() == 0
    assert not panel.locator(".note:not(:empty)").count(), "what was said is of the picture before"


def test_fifty_megabytes(page, demo, tmp_path):
    file = tmp_path / "upload.png"
    file.write_bytes(bad_uploads.fifty_megabytes())
    panel = open_tab(page, "Explain")
    browsing.upload(panel, "Upload a picture", file)
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert "exceed the maximum allowed size of 10" in toast.inner_text()
    after(panel.locator("#explain-levels"), lambda: slider(panel, "Test image").fill("3"))


def test_the_server_refuses_what_the_page_would_not_send(demo):
    boundary = "boundary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head.encode() + bad_uploads.fifty_megabytes() + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(
        f"{demo.address}gradio_api/upload",
        body,
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    # 413, or the connection is closed before all is sent.
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(request)
    assert not [file for file in _uploads(demo) if file.stat().st_size > 10**6]


def test_no_upload_is_kept(page, demo):
    panel = open_tab(page, "Explain")
    payload = {"name": "upload.gif", "mimeType": "image/gif", "buffer": bad_uploads.animated()}
    after(panel.locator("#explain-levels"), lambda: browsing.upload(panel, "Upload a picture", payload))
    browsing.sentence(panel, "status")
    assert not [file for file in _uploads(demo) if file.name == "upload.gif"]


def _uploads(demo):
    return [path for path in demo.folder.glob("uploads/**/*") if path.is_file()]
