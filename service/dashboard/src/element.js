// <polyseme-neuron src="https://…/v1/jobs/JOB/neurons/LAYER/NEURON">: a frame with that neuron, as high as it needs.

class PolysemeNeuron extends HTMLElement {
  static observedAttributes = ["src", "theme"];

  #frame = null;
  #listen = (event) => {
    if (event.source !== this.#frame?.contentWindow || event.origin !== this.#url.origin) return;
    if (event.data?.polyseme === "height") this.#frame.style.height = `${Number(event.data.height) || 0}px`;
    if (event.data?.polyseme === "ready") this.#frame.contentWindow.postMessage({ polysemeKey: this.apiKey }, this.#url.origin);
  };

  apiKey = null; // set by the page's script where the service has keys; never an attribute, which others would read

  get #url() {
    const url = new URL(this.getAttribute("src") ?? "", import.meta.url);
    url.pathname = url.pathname.replace(/\/(v1|ui)(?=\/jobs\/[^/]+\/neurons\/\d+\/\d+\/?$)/, "/embed");
    url.search = this.getAttribute("theme") ? `?theme=${encodeURIComponent(this.getAttribute("theme"))}` : "";
    return url;
  }

  connectedCallback() {
    this.style.display ||= "block";
    this.#frame = document.createElement("iframe");
    this.#frame.title = "A neuron and its senses";
    Object.assign(this.#frame.style, { width: "100%", height: "300px", border: "0", colorScheme: "normal" });
    addEventListener("message", this.#listen);
    this.#frame.src = this.#url.href;
    this.replaceChildren(this.#frame);
  }

  disconnectedCallback() {
    removeEventListener("message", this.#listen);
  }

  attributeChangedCallback() {
    if (this.#frame) this.#frame.src = this.#url.href;
  }
}

customElements.define("polyseme-neuron", PolysemeNeuron);
