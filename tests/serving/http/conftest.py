"""Sites to call."""

import pytest


@pytest.fixture
def make_site():
    """Makes sites, and closes them."""
    from http_calls import Site

    made = []

    def make(*arguments, **settings):
        made.append(Site(*arguments, **settings))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture(scope="module")
def site():
    """A site that no test changes."""
    from http_calls import Site

    site = Site()
    yield site
    site.close()
